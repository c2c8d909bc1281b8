//! `cowcheck lab`

use std::io::Write;

use cowcheck_lab::{Mutant, Plant};
use cowcheck_model::text::{choice, nearest};
use cowcheck_vm::Cache;

use super::args::TextOrJson;
use super::exit::{Code, Usage};
use super::lab_args::{LabArgs, LabCommand, LabListArgs};
use super::{lab_explore, lab_run};
use crate::suite::glob;

/// The mutation lab.
pub fn main(args: &LabArgs) -> anyhow::Result<Code> {
    match &args.command {
        LabCommand::Run(args) => lab_run::main(args),
        LabCommand::Explore(args) => lab_explore::main(args),
        LabCommand::Build => build(),
        LabCommand::List(args) => list(args),
        LabCommand::Show { name } => show(name),
    }
}

/// Builds the kernel with the mutants, and says how to boot one.
fn build() -> anyhow::Result<Code> {
    let mutants = cowcheck_lab::list()?;
    let built = cowcheck_lab::build(&mutants, &Cache::user(), &mut |text| eprintln!("{text}"))?;
    let tree = built.tree.display();
    writeln!(
        std::io::stdout().lock(),
        "{tree}\nfrom {}; to boot it with a bug: cowcheck vm {tree} --cmdline cowcheck_bug=NUMBER",
        built.source.package
    )?;
    Ok(Code::Success)
}

/// All mutants that these patterns name; every one without any.
pub(super) fn chosen(globs: &[String]) -> anyhow::Result<Vec<Mutant>> {
    let mut mutants = cowcheck_lab::list()?;
    for pattern in globs {
        if !mutants.iter().any(|mutant| glob::matches(pattern, &mutant.name)) {
            return Err(unknown(pattern, &mutants).into());
        }
    }
    mutants.retain(|mutant| globs.is_empty() || globs.iter().any(|pattern| glob::matches(pattern, &mutant.name)));
    Ok(mutants)
}

/// These mutants, and the correct forms that are planted as any of them is: without those nothing is judged.
pub(super) fn with_controls(mut chosen: Vec<Mutant>) -> anyhow::Result<Vec<Mutant>> {
    let same = |a: &Mutant, b: &Mutant| std::mem::discriminant(&a.plant) == std::mem::discriminant(&b.plant);
    for control in cowcheck_lab::list()?.into_iter().filter(|mutant| mutant.control) {
        if chosen.iter().any(|mutant| same(mutant, &control)) && !chosen.contains(&control) {
            chosen.push(control);
        }
    }
    Ok(chosen)
}

fn unknown(name: &str, mutants: &[Mutant]) -> Usage {
    let names = || mutants.iter().map(|mutant| mutant.name.as_str());
    let mut near: Vec<&str> = names().filter(|each| each.contains(name.trim_matches('*'))).take(3).collect();
    near.extend(nearest(name, names()).filter(|_| near.is_empty()));
    let near = if near.is_empty() { String::new() } else { format!("; did you mean {}?", choice(near)) };
    Usage(format!("no mutant is called `{name}`{near} `cowcheck lab list` shows them all"))
}

fn list(args: &LabListArgs) -> anyhow::Result<Code> {
    let mut out = std::io::stdout().lock();
    let mutants = chosen(&args.globs)?;
    let width = mutants.iter().map(|mutant| mutant.name.len()).max().unwrap_or(0);
    for mutant in &mutants {
        match args.format {
            TextOrJson::Text => {
                let more = match () {
                    () if mutant.control => " (correct)",
                    () if mutant.unobservable.is_some() => " (not to be seen)",
                    () => "",
                };
                writeln!(out, "{:<width$}  {:<11}  {}{more}", mutant.name, mutant.area.to_string(), mutant.title)?;
            }
            TextOrJson::Json => writeln!(out, "{}", serde_json::to_string(mutant)?)?,
        }
    }
    Ok(Code::Success)
}

fn show(name: &str) -> anyhow::Result<Code> {
    let mutants = cowcheck_lab::list()?;
    let Some(mutant) = mutants.iter().find(|mutant| mutant.name == name) else {
        return Err(unknown(name, &mutants).into());
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}: {}\n\n{}\n", mutant.name, mutant.title, mutant.about)?;
    if let Some(like) = &mutant.like {
        writeln!(out, "like:     {like}")?;
    }
    if !mutant.breaks.is_empty() {
        let rules: Vec<String> = mutant.breaks.iter().map(ToString::to_string).collect();
        writeln!(out, "breaks:   {}", rules.join(", "))?;
    }
    if mutant.control {
        writeln!(out, "correct:  everything must pass")?;
    }
    if let Some(why) = &mutant.unobservable {
        writeln!(out, "not seen: {why}")?;
    }
    if !mutant.first.is_empty() {
        writeln!(out, "first:    {}", mutant.first.join("  "))?;
    }
    match &mutant.plant {
        Plant::InPlace { bug } => {
            writeln!(out, "planted:  by the module lab/in-place with bug={bug}, on stock kernels")?
        }
        Plant::Edits { number, edits } => {
            writeln!(out, "planted:  in the kernel of `cowcheck lab build`, booted with cowcheck_bug={number}")?;
            for edit in edits {
                writeln!(out, "\n{}, {}(), at `{}`:", edit.file, edit.function, edit.at)?;
                edit.text.trim_end().lines().try_for_each(|line| writeln!(out, "    {line}"))?;
            }
        }
    }
    Ok(Code::Success)
}
