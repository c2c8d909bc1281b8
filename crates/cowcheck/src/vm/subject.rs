//! Temporary.
use super::session::Subject;
use crate::guest::init;
/// x
pub fn find(handle: &str) -> anyhow::Result<Subject> {
    let (file, brd) = handle.split_once(',').unwrap_or((handle, ""));
    let mut modules = vec![];
    if !brd.is_empty() {
        modules.push(("brd".to_owned(), init::ram_disk_parameters(), std::fs::read(brd)?));
    }
    Ok(Subject { handle: handle.to_owned(), package: None, release: file.to_owned(), file: file.into(), modules })
}
