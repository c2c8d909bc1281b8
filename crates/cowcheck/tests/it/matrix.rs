//! `cowcheck matrix`: the report of a whole catalogue on six kernels, in every format, and its page in a
//! real browser.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::machine::skipped;
use crate::program::{Cowcheck, Output};

const KERNELS: [&str; 6] = ["5.10.251", "6.1.192", "6.6.119", "6.12.60", "6.18.44", "7.3.0-rc2"];

/// The most bytes of the page for a check on six kernels, failures and all.
const MAX_PER_CHECK: usize = 2 << 10;

const EVIL: &str = "</title></pre><script>document.title='evil'</script><img src=x onerror=alert(1)>&amp;";

/// Every check of the catalogue of this machine on six kernels, and a seventh that never booted.
fn files(dir: &Path) -> Vec<PathBuf> {
    let list = Cowcheck::new(["list", "--format", "json"]).output().code(0).out;
    let ids: Vec<String> = list
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    let mut paths = Vec::new();
    for (at, kernel) in KERNELS.iter().enumerate() {
        let mut lines = vec![
            json!({"type": "vm", "handle": "x", "accel": "tcg"}),
            json!({"type": "start", "cowcheck_results": 1, "kernel": format!("{kernel} #1 SMP"), "planned": ids.len()}),
        ];
        // The third kernel dies on the way.
        let count = if at == 2 { ids.len() / 2 } else { ids.len() };
        lines.extend(ids.iter().enumerate().take(count).map(|(number, id)| check(id, number, at)));
        lines.push(match at {
            2 => json!({"type": "vm-end", "state": "panic", "reason": EVIL}),
            _ => json!({"type": "end", "micros": 1_000_000}),
        });
        paths.push(write(dir, kernel, &lines));
    }
    let dead = [json!({"type": "vm", "package": "linux 7.4.0"}), json!({"type": "vm-end", "state": "hang"})];
    paths.push(write(dir, "dead", &dead));
    paths
}

fn check(id: &str, number: usize, kernel: usize) -> Value {
    let explanation = format!("isolation broken: {EVIL}\nsteps, on kernel {}:\n", KERNELS[kernel]);
    let explanation =
        explanation + &"   1  A write all                  ok, saw 0-511: A@1 of pages 0-511\n".repeat(20);
    let mut check = match (number % 7, kernel) {
        (0, 0) | (1, 5) => json!({"verdict": "fail", "violations": [{"sentence": EVIL}], "explanation": explanation}),
        (2, _) => json!({"verdict": "skip", "reason": "no swap", "remedy": "sudo cowcheck run --provide"}),
        (3, 1) => json!({"verdict": "timeout", "reason": "B hung in step 2"}),
        _ => json!({"verdict": "pass"}),
    };
    check["type"] = "check".into();
    check["id"] = id.into();
    check
}

fn write(dir: &Path, name: &str, lines: &[Value]) -> PathBuf {
    let path = dir.join(format!("{name}.jsonl"));
    fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    path
}

fn matrix(files: &[PathBuf]) -> Cowcheck {
    Cowcheck::new(["matrix"]).args(files)
}

#[test]
fn every_format_tells_the_same() {
    let dir = TempDir::new().unwrap();
    let files = files(dir.path());
    let (html, json) = (dir.path().join("m.html"), dir.path().join("m.json"));
    let output = matrix(&files)
        .args(["--title", "A title"])
        .arg("--output")
        .arg(format!("html={}", html.display()))
        .arg("--output")
        .arg(format!("json={}", json.display()))
        .output()
        .code(1);
    let json: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!((&json["cowcheck_matrix"], &json["title"]), (&1.into(), &"A title".into()));
    let labels: Vec<&str> =
        json["kernels"].as_array().unwrap().iter().map(|kernel| kernel["label"].as_str().unwrap()).collect();
    assert_eq!(labels[..6], KERNELS);
    assert_eq!(json["kernels"][2]["state"], "cut-off");
    assert_eq!(json["kernels"][6]["state"], "not-booted");
    let answer = json["answer"].as_str().unwrap();
    assert!(output.out.ends_with(&format!("\n{answer}\n")), "{}", output.out);
    for change in json["changes"].as_array().unwrap() {
        assert!(output.out.contains(change["sentence"].as_str().unwrap()), "{change}\n{}", output.out);
    }
    assert!(output.out.contains("  broken on 5.10.251, passes since 6.1.192"), "{}", output.out);
    let table = output
        .out
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("5.10.251  6."))
        .take_while(|line| !line.is_empty());
    assert!(table.map(|line| line.chars().count()).max() <= Some(100), "{}", output.out);
    let size = fs::metadata(&html).unwrap().len() as usize;
    let checks = json["checks"].as_array().unwrap().len();
    assert!(size < MAX_PER_CHECK * checks, "{size} bytes for {checks} checks");
}

#[test]
fn rubbish_is_told_with_its_place() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x.jsonl");
    fs::write(&path, "{\"type\":\"start\",\"cowcheck_results\":1,\"kernel\":\"6.1\",\"planned\":1}\n{\"type\":7}\n")
        .unwrap();
    let output = matrix(std::slice::from_ref(&path)).output().code(2);
    assert!(output.err.contains(&format!("{}:2:", path.display())), "{}", output.err);
    matrix(&["/nowhere".into()]).output().code(2);
    Cowcheck::new(["matrix"]).output().code(2);
    let output = matrix(&[path]).args(["--output", "ktap=x"]).output().code(2);
    assert!(output.err.contains("expected FORMAT=FILE, FORMAT being one of terminal, json, html"), "{}", output.err);
}

#[test]
fn the_exit_code_is_that_of_the_worst_kernel() {
    let dir = TempDir::new().unwrap();
    let start = json!({"type": "start", "cowcheck_results": 1, "kernel": "6.1", "planned": 1});
    let end = json!({"type": "end"});
    let pass = json!({"type": "check", "id": "a/b/c", "verdict": "pass"});
    let good = write(dir.path(), "good", &[start.clone(), pass.clone(), end]);
    let cut = write(dir.path(), "cut", &[start, pass]);
    matrix(std::slice::from_ref(&good)).output().code(0);
    let output = matrix(&[good, cut]).output().code(3);
    assert!(output.out.contains("cut off: 6.1 (2)"), "{}", output.out);
}

const LIGHT: &str = "preferredColorScheme=1";
const DARK: &str = "preferredColorScheme=0";

/// What a browser is told that runs no scripts.
const NO_SCRIPTS: &str = r#"{"profile":{"default_content_setting_values":{"javascript":2}}}"#;

/// A page in a browser, if there is one.
struct Browser {
    dir: TempDir,
    page: PathBuf,
}

impl Browser {
    fn open() -> Option<Browser> {
        if !Path::new("/usr/bin/chromium").exists() {
            skipped("no chromium; to have it: apt-get install chromium");
            return None;
        }
        let dir = TempDir::new().unwrap();
        let page = dir.path().join("page.html");
        matrix(&files(dir.path())).arg("--output").arg(format!("html={}", page.display())).output().code(1);
        fs::create_dir_all(dir.path().join("plain/Default")).unwrap();
        fs::write(dir.path().join("plain/Default/Preferences"), NO_SCRIPTS).unwrap();
        Some(Browser { page, dir })
    }

    fn run(&self, profile: &str, args: &[&str], page: &Path) -> Output {
        let profile = format!("--user-data-dir={}", self.dir.path().join(profile).display());
        let fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", &profile];
        let page = format!("file://{}", page.display());
        Cowcheck::new(fixed).args(args).arg(page).program("/usr/bin/chromium").output().code(0)
    }

    /// The page as the browser has understood it.
    fn dom(&self, profile: &str, page: &Path) -> String {
        self.run(profile, &["--dump-dom"], page).out
    }

    /// What is seen at first.
    fn picture(&self, profile: &str, width: usize, height: usize, scheme: &str) -> Picture {
        let file = self.dir.path().join("shot.png");
        let (shot, size) = (format!("--screenshot={}", file.display()), format!("--window-size={width},{height}"));
        self.run(profile, &[&shot, &size, &format!("--blink-settings={scheme}")], &self.page);
        let picture = Picture::read(&fs::read(&file).unwrap());
        fs::remove_file(&file).unwrap();
        assert_eq!((picture.width, picture.height), (width, height));
        picture
    }
}

#[test]
fn a_browser_reads_the_page_as_it_was_meant() {
    let Some(browser) = Browser::open() else { return };
    let dom = browser.dom("scripts", &browser.page);
    assert!(dom == browser.dom("plain", &browser.page), "a script has changed the page");
    assert!(!dom.contains("<script") && !dom.contains("<img"), "a reason became markup");
    assert!(!dom.contains("<title>evil"), "a reason was run");
    let count = |what: &str| dom.matches(what).count();
    let checks = Cowcheck::new(["list"]).output().code(0).out.lines().count();
    assert_eq!(count("<use href=\"#v-") - 7, checks * KERNELS.len(), "a cell for each, and seven in the legend");
    // A browser moves to elsewhere what is nested wrongly, and leaves tables without rows.
    assert_eq!(count("<table"), count("<caption"));
    assert!(count("<th scope=\"row\"") > checks);
    let values = |attribute: &str| -> Vec<String> {
        let begin = format!(" {attribute}=\"");
        dom.split(&begin).skip(1).map(|part| part.split('"').next().unwrap().to_owned()).collect()
    };
    let ids: HashSet<String> = values("id").into_iter().collect();
    for link in values("href") {
        assert!(link.strip_prefix('#').is_some_and(|id| ids.contains(id)), "{link} leads nowhere");
    }
}

#[test]
fn a_browser_can_be_told_to_run_no_scripts() {
    let Some(browser) = Browser::open() else { return };
    let page = browser.dir.path().join("script.html");
    fs::write(&page, "<p>off<script>document.querySelector('p').textContent = 'on'</script>").unwrap();
    assert!(browser.dom("scripts", &page).contains("<p>on"));
    assert!(browser.dom("plain", &page).contains("<p>off"));
}

#[test]
fn a_browser_shows_the_page_light_and_dark_wide_and_narrow() {
    let Some(browser) = Browser::open() else { return };
    for width in [1280, 400] {
        let [light, dark] = [LIGHT, DARK].map(|scheme| browser.picture("scripts", width, 1000, scheme));
        assert!(brightness(light.corner()) > 700, "{:?}", light.corner());
        assert!(brightness(dark.corner()) < 100, "{:?}", dark.corner());
        for picture in [&light, &dark] {
            let colours = picture.colours();
            assert!(colours > 100, "{colours} colours: the page is blank");
        }
        let without = browser.picture("plain", width, 1000, LIGHT);
        assert!(without.pixels == light.pixels, "the page needs scripts");
    }
}

fn brightness(pixel: [u8; 3]) -> u32 {
    pixel.iter().map(|part| u32::from(*part)).sum()
}

/// A screenshot.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// As far as screenshots need it: eight bits a channel, not interlaced.
    fn read(png: &[u8]) -> Picture {
        let mut rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n").expect("a PNG");
        let (mut head, mut data) = (Vec::new(), Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (chunk, after) = after.split_at(4 + u32::from_be_bytes(*length) as usize);
            match &chunk[..4] {
                b"IHDR" => head = chunk[4..].to_vec(),
                b"IDAT" => data.extend_from_slice(&chunk[4..]),
                _ => {}
            }
            rest = &after[4..];
        }
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap()) as usize;
        let (width, height) = (number(0), number(4));
        let step = match (head[8], head[9], head[12]) {
            (8, 2, 0) => 3,
            (8, 6, 0) => 4,
            other => panic!("a PNG of another kind: {other:?}"),
        };
        let bytes = miniz_oxide::inflate::decompress_to_vec_zlib(&data).unwrap();
        let mut pixels = Vec::new();
        let mut above = vec![0; width * step];
        for line in bytes.chunks_exact(1 + width * step) {
            let mut row = line[1..].to_vec();
            for at in 0..row.len() {
                let left = if at >= step { row[at - step] } else { 0 };
                let corner = if at >= step { above[at - step] } else { 0 };
                let guess = match line[0] {
                    0 => 0,
                    1 => left,
                    2 => above[at],
                    3 => u8::midpoint(left, above[at]),
                    _ => paeth(left, above[at], corner),
                };
                row[at] = row[at].wrapping_add(guess);
            }
            pixels.extend(row.chunks_exact(step).map(|pixel| [pixel[0], pixel[1], pixel[2]]));
            above = row;
        }
        assert_eq!(pixels.len(), width * height);
        Picture { width, height, pixels }
    }

    fn corner(&self) -> [u8; 3] {
        self.pixels[0]
    }

    fn colours(&self) -> usize {
        self.pixels.iter().collect::<HashSet<_>>().len()
    }
}

/// The filter that PNG calls by this name.
fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let guess = i16::from(left) + i16::from(above) - i16::from(corner);
    let off = |byte: u8| (guess - i16::from(byte)).abs();
    match () {
        () if off(left) <= off(above) && off(left) <= off(corner) => left,
        () if off(above) <= off(corner) => above,
        () => corner,
    }
}
