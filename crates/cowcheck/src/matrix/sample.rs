//! Results by hand, for the tests of the reports.

use super::{Matrix, parse};

/// A kernel's file: the check and what it came to, a letter each.
pub(super) fn file(kernel: &str, checks: &[(&str, char)], end: &str) -> String {
    let mut text = format!(
        "{{\"type\":\"start\",\"cowcheck_results\":1,\"kernel\":\"{kernel}\",\"machine\":\"x86_64\",\"planned\":{}}}\n",
        checks.len()
    );
    for (id, letter) in checks {
        let verdict = match letter {
            'p' => r#""verdict":"pass","micros":1500"#,
            'f' => {
                r#""verdict":"fail","micros":900,"violations":[{"sentence":"B sees <b>A's</b> write & more"}],"explanation":"isolation broken: x\nsteps, on kernel KERNEL:\n> 4  B read all\n         A 0-511: present, frame 0xFRAME\n""#
            }
            'x' => r#""verdict":"xfail","bug":"CVE-2020-29374","violations":[{"sentence":"the pipe shows it"}]"#,
            's' => {
                r#""verdict":"skip","reason":"no <script>alert(1)</script> swap","remedy":"sudo cowcheck run --provide""#
            }
            'i' => r#""verdict":"inconclusive","reason":"`A collapse all` was refused: EINVAL""#,
            't' => r#""verdict":"timeout","reason":"B hung in step 2""#,
            _ => r#""verdict":"crash","reason":"A died in step 1: SIGBUS""#,
        };
        let verdict = verdict.replace("KERNEL", kernel).replace("0xFRAME", &format!("{:#x}", kernel.len() * 4096));
        text += &format!("{{\"type\":\"check\",\"id\":\"{id}\",{verdict}}}\n");
    }
    text + end
}

pub(super) const END: &str = "{\"type\":\"end\",\"micros\":31600000}\n";

const IDS: [&str; 7] = [
    "cow/fork-write/base",
    "cow/fork-write/thp-2m",
    "cow/fork-write/hugetlb-2m",
    "cow/vmsplice-child/base",
    "cow/vmsplice-child/hugetlb-2m",
    "cow/collapse-fully-shared",
    "cow/file-write/memfd",
];

/// What the checks came to, a letter each in the order of [`IDS`]; fewer where the run was cut off.
fn checks(letters: &str) -> Vec<(&'static str, char)> {
    IDS.into_iter().zip(letters.chars()).collect()
}

/// Five kernels, given in no order: one was cut off, one never booted.
pub(super) fn matrix() -> Matrix {
    let vm = r#"{"type":"vm","handle":"debian:6.1","package":"linux-image-6.1.0-41-amd64 6.1.192-1","accel":"tcg"}"#;
    let panic = "{\"type\":\"vm-end\",\"state\":\"panic\",\"reason\":\"BUG: <bad> page\"}\n";
    let hang = r#"{"type":"vm","handle":"kernel.org:next","package":"linux 7.4.0-rc1"}
{"type":"vm-end","state":"hang","reason":"no sign of life for 300 s"}
"#;
    let files = [
        ("718.jsonl", file("6.18.44 #1 SMP", &checks("pfpxxpp"), END)),
        ("next.jsonl", hang.to_owned()),
        ("61.jsonl", format!("{vm}\n{}", file("6.1.0-41-amd64 #1 SMP Debian 6.1.192-1", &checks("ppspxis"), END))),
        ("612.jsonl", file("6.12.60 #1 SMP", &checks("pppx"), panic)),
        ("510.jsonl", file("5.10.251 #1 SMP", &checks("fpsfxis"), END)),
    ];
    Matrix::new("Five & more", files.iter().map(|(name, text)| parse(text.as_bytes(), name).unwrap()).collect())
}
