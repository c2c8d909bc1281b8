//! Transparent huge pages: every size usable, nothing that disturbs a set-up.

use std::path::Path;

use super::Thing;
use super::change::Changes;
use super::machine::{Setting, thp_sizes};
use cowcheck_model::memory::Size;

/// An hour. khugepaged collapses what a check has carefully mapped by PTEs; between two scans it
/// does nothing.
const SCAN_SLEEP_MILLISECS: &str = "3600000";

/// Sizes that are `never` become `madvise`, which concerns only those who ask; others stay.
pub(crate) fn provide(changes: &mut Changes<'_>) {
    let dir = changes.roots.thp();
    if !dir.join("enabled").exists() {
        return changes.could_not(
            Thing::HugeZeroPage,
            "kernel without THP",
            "a kernel with CONFIG_TRANSPARENT_HUGEPAGE=y",
        );
    }
    let mut enabled = Vec::new();
    // One that inherits may be on once the global setting is: so each looks again.
    for bytes in thp_sizes(changes.roots).into_iter().map(|size| size.bytes) {
        let Some(size) = thp_sizes(changes.roots).into_iter().find(|size| size.bytes == bytes) else { continue };
        if size.setting != Setting::Never {
            continue;
        }
        // Before 5.16, switching THP on raises it and switching THP off does not lower it. It has to
        // be put back last, so it is remembered first.
        let reserve = changes.roots.proc.join("sys/vm/min_free_kbytes");
        let remembered = if enabled.is_empty() { changes.remember(&reserve) } else { Ok(()) };
        match remembered.and_then(|()| changes.set(&size.file, "madvise")) {
            Ok(_) => enabled.push(Size(bytes).to_string()),
            Err(error) => {
                let remedy = format!("echo madvise | sudo tee {}", size.file.display());
                changes.could_not(Thing::Thp(bytes), format!("{}: {error}", size.file.display()), remedy);
            }
        }
    }
    if !enabled.is_empty() {
        changes.did(format!("set THP to madvise for {}", enabled.join(", ")));
    }

    set(changes, &dir.join("khugepaged/scan_sleep_millisecs"), SCAN_SLEEP_MILLISECS, "sent khugepaged to sleep");
    // With `never`, a page fault takes no trouble to get a huge page.
    if thp_defrag_is_never(&dir) {
        set(changes, &dir.join("defrag"), "madvise", "set THP defrag to madvise");
    }
    let zero_page = dir.join("use_zero_page");
    match changes.set(&zero_page, "1") {
        Ok(true) => changes.did("switched the huge zero page on".to_owned()),
        Ok(false) => {}
        Err(error) => changes.could_not(
            Thing::HugeZeroPage,
            format!("{}: {error}", zero_page.display()),
            format!("echo 1 | sudo tee {}", zero_page.display()),
        ),
    }
}

fn thp_defrag_is_never(dir: &Path) -> bool {
    super::undo::value(&dir.join("defrag")).is_ok_and(|value| value == "never")
}

/// For what only makes results steadier: a failure is no reason to skip a check.
fn set(changes: &mut Changes<'_>, path: &Path, value: &str, sentence: &str) {
    match changes.set(path, value) {
        Ok(true) => changes.did(sentence.to_owned()),
        Ok(false) => {}
        Err(error) => changes.did(format!("left {} as it is: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::CouldNot;
    use super::super::fake::Fake;
    use super::super::undo::Undo;
    use super::*;

    const THP: &str = "sys/kernel/mm/transparent_hugepage";

    fn fake(name: &str, global: &str) -> Fake {
        Fake::new(name)
            .file(&format!("{THP}/enabled"), global)
            .file(&format!("{THP}/defrag"), "always defer defer+madvise [madvise] never")
            .file(&format!("{THP}/use_zero_page"), "0")
            .file(&format!("{THP}/khugepaged/scan_sleep_millisecs"), "10000")
            .file(&format!("{THP}/hpage_pmd_size"), "2097152")
            .file("proc/sys/vm/min_free_kbytes", "67584\n")
    }

    /// What was done and promised. The fake files hold what was written, not a choice in brackets.
    fn run(fake: &Fake) -> (Vec<String>, Vec<Undo>, Vec<CouldNot>) {
        let (roots, mut ledger) = (fake.roots(), Vec::new());
        let mut changes = Changes::new(&roots, &mut ledger);
        provide(&mut changes);
        let (did, could_not) = (changes.did, changes.could_not);
        (did, ledger, could_not)
    }

    #[test]
    fn only_what_is_never_is_changed() {
        let fake = fake("thp-new", "always [madvise] never")
            .file(&format!("{THP}/hugepages-64kB/enabled"), "always inherit madvise [never]")
            .file(&format!("{THP}/hugepages-128kB/enabled"), "[always] inherit madvise never")
            .file(&format!("{THP}/hugepages-2048kB/enabled"), "always [inherit] madvise never");
        let (did, ledger, could_not) = run(&fake);
        assert_eq!(did, ["set THP to madvise for 64K", "sent khugepaged to sleep", "switched the huge zero page on"]);
        assert!(could_not.is_empty());
        assert_eq!(fake.text(&format!("{THP}/hugepages-64kB/enabled")).split(' ').next(), Some("madvise"));
        assert!(fake.text(&format!("{THP}/hugepages-128kB/enabled")).starts_with("[always]"));
        let olds: Vec<_> = ledger
            .iter()
            .map(|undo| match undo {
                Undo::WriteFile { old, .. } => old.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(olds, ["67584", "never", "10000", "0"]);
    }

    #[test]
    fn an_old_kernel_has_one_setting_for_all() {
        let fake = fake("thp-old", "always madvise [never]");
        let (did, ledger, _) = run(&fake);
        assert_eq!(did[0], "set THP to madvise for 2M");
        assert_eq!(ledger.len(), 4);
    }

    #[test]
    fn a_kernel_without_thp_is_told_once() {
        let (did, ledger, could_not) = run(&Fake::new("thp-none"));
        assert!(did.is_empty() && ledger.is_empty());
        assert_eq!(could_not[0].reason, "kernel without THP");
    }
}
