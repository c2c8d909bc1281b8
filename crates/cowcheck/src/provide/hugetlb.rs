//! hugetlb pages (Documentation/admin-guide/mm/hugetlbpage.rst).

use cowcheck_model::memory::Size;

use super::change::Changes;
use super::machine::{HugetlbSize, about, available, hugetlb_sizes};
use super::undo::write_value;
use super::{Pages, Thing};

/// Tries of pages that the kernel did not find at once.
const TRIES: u32 = 3;

/// Sees to it that pages of `bytes` are free, as far as there is memory for them. `spare` bytes stay available to
/// everybody else.
pub(crate) fn provide(changes: &mut Changes<'_>, bytes: u64, Pages { least, best: want }: Pages, spare: u64) {
    let thing = Thing::Hugetlb(bytes);
    let Some(size) = find(changes, bytes) else {
        return changes.could_not(thing, format!("kernel without {} hugetlb pages", Size(bytes)), "");
    };
    let missing = want.saturating_sub(size.available());
    if missing == 0 {
        return;
    }
    let memory = available(changes.roots);
    let room = memory.saturating_sub(spare) / bytes.max(1);
    let add = missing.min(room);
    if add > 0
        && let Err(error) = grow(changes, size, add)
    {
        let remedy = format!("echo {} | sudo tee {}", size.nr + missing, file(changes, bytes).display());
        return changes.could_not(thing, format!("nr_hugepages cannot be written: {error}"), remedy);
    }
    let found = find(changes, bytes).unwrap_or(size);
    if found.nr > size.nr {
        let (added, free) = (found.nr - size.nr, found.available());
        changes.did(format!("added {added} hugetlb pages of {} ({free} free now)", Size(bytes)));
    }
    if found.available() < least {
        let (free, of) = (found.available(), Size(bytes));
        let (reason, remedy) = if room < missing {
            (
                format!("{free} of {want} hugetlb pages of {of}: {} of memory is available", about(memory)),
                format!("a machine with {} more memory", about((missing - room) * bytes)),
            )
        } else {
            (
                format!("{free} of {want} hugetlb pages of {of}: memory is fragmented"),
                format!("boot with hugepagesz={of} hugepages={want}"),
            )
        };
        changes.could_not(thing, reason, remedy);
    }
}

fn find(changes: &Changes<'_>, bytes: u64) -> Option<HugetlbSize> {
    hugetlb_sizes(changes.roots).into_iter().find(|size| size.bytes == bytes)
}

fn file(changes: &Changes<'_>, bytes: u64) -> std::path::PathBuf {
    changes.roots.hugetlb().join(format!("hugepages-{}kB/nr_hugepages", bytes >> 10))
}

/// The kernel takes a number that it cannot reach for a wish and does what it can. Compaction makes
/// room for large pages; it is an action, not a setting.
fn grow(changes: &mut Changes<'_>, size: HugetlbSize, add: u64) -> std::io::Result<()> {
    let compact = changes.roots.proc.join("sys/vm/compact_memory");
    let target = size.nr + add;
    let path = file(changes, size.bytes);
    /// Above this, pages come from no free list but are put together.
    const LARGE: u64 = 4 << 20;
    for each in 0..TRIES {
        if size.bytes > LARGE || each > 0 {
            // Kernels without CONFIG_COMPACTION have no such file.
            let _ = write_value(&compact, "1");
        }
        if each == 0 {
            changes.set(&path, &target.to_string())?;
        } else {
            write_value(&path, &target.to_string())?;
        }
        if find(changes, size.bytes).is_some_and(|now| now.nr >= target) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::super::undo::Undo;
    use super::*;

    const TWO_MIB: u64 = 2 << 20;
    const SPARE: u64 = 2 << 30;

    fn fake(name: &str, nr: u64, free: u64, available: u64) -> Fake {
        let dir = "sys/kernel/mm/hugepages/hugepages-2048kB";
        Fake::new(name)
            .file(&format!("{dir}/nr_hugepages"), &nr.to_string())
            .file(&format!("{dir}/free_hugepages"), &free.to_string())
            .file(&format!("{dir}/resv_hugepages"), "1")
            .file("proc/meminfo", &format!("MemAvailable: {} kB\n", available >> 10))
    }

    fn run(fake: &Fake, want: u64) -> (Vec<String>, Vec<Undo>, Vec<String>) {
        let (roots, mut ledger) = (fake.roots(), Vec::new());
        let mut changes = Changes::new(&roots, &mut ledger);
        provide(&mut changes, TWO_MIB, Pages { least: want, best: want }, SPARE);
        let could_not = changes.could_not.iter().map(ToString::to_string).collect();
        (changes.did, ledger, could_not)
    }

    #[test]
    fn enough_free_pages_are_left_alone() {
        let fake = fake("hugetlb-enough", 9, 5, 8 << 30);
        assert_eq!(run(&fake, 4), (vec![], vec![], vec![]));
    }

    #[test]
    fn what_is_missing_is_added_to_what_there_is() {
        let fake = fake("hugetlb-add", 9, 5, 8 << 30);
        // The fake kernel has no more free pages afterwards, so it is reported, too.
        let (did, ledger, could_not) = run(&fake, 6);
        assert_eq!(fake.text("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), "11");
        assert_eq!(did, ["added 2 hugetlb pages of 2M (4 free now)"]);
        assert!(matches!(&ledger[..], [Undo::WriteFile { old, .. }] if old == "9"), "{ledger:?}");
        assert!(could_not[0].contains("4 of 6 hugetlb pages of 2M: memory is fragmented"), "{could_not:?}");
    }

    #[test]
    fn memory_for_the_others_is_not_touched() {
        let fake = fake("hugetlb-memory", 0, 0, SPARE + TWO_MIB - 1);
        let (did, ledger, could_not) = run(&fake, 2);
        assert!(did.is_empty() && ledger.is_empty());
        assert!(could_not[0].contains("0 of 2 hugetlb pages of 2M: 2G of memory is available"), "{could_not:?}");
    }
}
