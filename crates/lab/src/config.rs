//! What the lab's kernel is configured with.

/// Lines of a .config, with remarks.
pub const WANTED: &str = include_str!("../../../lab/config");

/// Options that kconfig did not keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lab/config asks for what these sources do not let it have: {}; look into their Kconfig, and mend lab/config", unmet.join(", "))]
pub struct Unmet {
    /// What was wanted and what there is, for each.
    pub unmet: Vec<String>,
}

/// Whether all that is wanted stands in this .config.
pub fn verify(config: &str) -> Result<(), Unmet> {
    let unmet: Vec<_> = WANTED.lines().filter_map(option).filter_map(|wanted| differs(wanted, config)).collect();
    if unmet.is_empty() { Ok(()) } else { Err(Unmet { unmet }) }
}

/// An option's name, and its value if it is set.
type Setting<'a> = (&'a str, Option<&'a str>);

fn option(line: &str) -> Option<Setting<'_>> {
    match line.strip_prefix("# ") {
        Some(rest) => rest.strip_suffix(" is not set").map(|name| (name, None)),
        None => line.split_once('=').map(|(name, value)| (name, Some(value))),
    }
}

fn differs((name, wanted): Setting<'_>, config: &str) -> Option<String> {
    // What cannot be set is not mentioned.
    let found = config.lines().filter_map(option).find(|(each, _)| *each == name).and_then(|(_, value)| value);
    (found != wanted).then(|| format!("{name}={} (it is {})", wanted.unwrap_or("n"), found.unwrap_or("n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_did_not_stay_is_told() {
        let kept: String = WANTED.lines().map(|line| format!("{line}\n")).collect();
        assert_eq!(verify(&kept), Ok(()));
        assert_eq!(verify(&kept.replace("# CONFIG_DEBUG_VM is not set\n", "")), Ok(()));
        let error = verify(&kept.replace("CONFIG_KSM=y\n", "")).unwrap_err().to_string();
        assert!(error.contains("have: CONFIG_KSM=y (it is n); look"), "{error}");
        let error = verify(&kept.replace("CONFIG_BLK_DEV_RAM=m", "CONFIG_BLK_DEV_RAM=y")).unwrap_err();
        assert_eq!(error.unmet, ["CONFIG_BLK_DEV_RAM=m (it is y)"]);
        let error = verify(&kept.replace("# CONFIG_DEBUG_VM is not set", "CONFIG_DEBUG_VM=y")).unwrap_err();
        assert_eq!(error.unmet, ["CONFIG_DEBUG_VM=n (it is y)"]);
    }
}
