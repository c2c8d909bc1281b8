//! Reclaim from the whole family: it runs in a cgroup, whose memory the kernel is asked to swap out.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use cowcheck_model::step::Op;
use cowcheck_model::trace::StepResult;

use super::family::{Plan, done};
use super::request::Devices;
use crate::provide::cgroup::RECLAIM;

/// How often it is asked for: what was used a moment ago is spared the first time.
const ROUNDS: usize = 3;
/// Not everything could be reclaimed; it never can.
const EAGAIN: i32 = 11;

/// Actor A joins the cgroup before it has any memory under test, where a step will need that. Its children are born there.
pub fn join(plan: &Plan<'_>) -> Result<(), String> {
    match &plan.devices.cgroup {
        Some(cgroup) if plan.scenario.has(|op| *op == Op::Reclaim) => {
            // 0 is who writes.
            let joined = tell(&Path::new(cgroup).join("cgroup.procs"), "0");
            joined.map_err(|error| format!("A cannot join the cgroup {cgroup}: {error}"))
        }
        _ => Ok(()),
    }
}

/// Has everything reclaimed that is used in the cgroup. What became of it, `require` tells.
pub fn reclaim(devices: &Devices) -> StepResult {
    let Some(cgroup) = &devices.cgroup else { return StepResult::Skipped("there is no cgroup to reclaim from".into()) };
    let cgroup = Path::new(cgroup);
    let [ask, empty] = RECLAIM.map(|file| cgroup.join(file));
    for _ in 0..ROUNDS {
        let result = match ask.exists() {
            // As many bytes as are in use.
            true => fs::read_to_string(cgroup.join("memory.current")).and_then(|bytes| tell(&ask, bytes.trim())),
            false => tell(&empty, "0"),
        };
        match result {
            Err(error) if error.raw_os_error() != Some(EAGAIN) => return done(Err(error)),
            _ => {}
        }
    }
    StepResult::Ok
}

fn tell(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}
