//! Kernels of Debian's archive.

use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::{Apt, LIBRARIES, Package};
use crate::cache::{Cache, remove};
use crate::deb::{unpack_headers, unpack_sources};
use crate::kernel::{Kernel, unpack_all, unpacked};
use crate::{Error, kbuild, version};

/// `debian:VERSION`, where `version` is a series or a version.
pub(crate) fn by_version(
    handle: &str,
    wanted: &str,
    cache: &Cache,
    say: &mut dyn FnMut(&str),
) -> Result<Kernel, Error> {
    let bad = |why: &str| Error::BadVersion { handle: handle.to_owned(), why: why.to_owned() };
    let series = version::series(wanted).ok_or_else(|| bad("this is no version of a kernel"))?;
    let apt = Apt::new(handle, cache)?;
    let packages = apt.packages(say, &|packages| has_version(packages, wanted, series))?;
    let chosen = choose(&packages, wanted, series);
    let chosen =
        chosen.ok_or_else(|| Error::NotInArchive { handle: handle.to_owned(), there: all_series(&packages) })?;
    if !is_series(wanted) && !is_meant(wanted, &chosen.version) {
        say(&format!("{wanted} is not in Debian's archive (any more); taking the nearest: {}", chosen.version));
    }
    fetch(handle, chosen, &packages, &apt, cache, say)
}

/// `linux-image-...`; a package that is empty and only depends on the newest kernel means that one.
pub(crate) fn by_name(handle: &str, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<Kernel, Error> {
    let apt = Apt::new(handle, cache)?;
    let packages = apt.packages(say, &|packages| newest(packages, handle).is_some())?;
    let mut found = newest(&packages, handle);
    if let Some(meta) = found.filter(|package| package.is_meta()) {
        found = meta.image().and_then(|(name, _)| newest(&packages, name)).filter(|package| !package.is_meta());
    }
    let found = found.ok_or_else(|| {
        // All of them are hundreds: one of each series shows what the names are like.
        let there = all_series(&packages);
        let there = there.iter().filter_map(|each| Some(choose(&packages, each, version::series(each)?)?.name.clone()));
        Error::NotInArchive { handle: handle.to_owned(), there: there.collect() }
    })?;
    fetch(handle, found, &packages, &apt, cache, say)
}

fn newest<'a>(packages: &'a [Package], name: &str) -> Option<&'a Package> {
    packages.iter().filter(|package| package.name == name).max_by(|a, b| version::compare(&a.version, &b.version))
}

/// `6.12`, and no more.
fn is_series(wanted: &str) -> bool {
    wanted.split('.').count() == 2 && wanted.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Whether a version is what was asked for: exactly, or any revision if none was given.
fn is_meant(wanted: &str, version: &str) -> bool {
    version == wanted || version::upstream(version) == wanted
}

fn has_version(packages: &[Package], wanted: &str, series: (u32, u32)) -> bool {
    let mut there = images(packages).filter(|package| version::series(&package.version) == Some(series));
    there.any(|package| is_series(wanted) || is_meant(wanted, &package.version))
}

/// Kernels, and not what only depends on one.
fn images(packages: &[Package]) -> impl Iterator<Item = &Package> {
    packages.iter().filter(|package| package.flavour().is_some() && !package.is_meta())
}

/// The kernel that is meant by a version: of the cloud flavour if there is one, which has what virtual
/// machines need and little else; of a version that is there signed and unsigned the signed one.
fn choose<'a>(packages: &'a [Package], wanted: &str, series: (u32, u32)) -> Option<&'a Package> {
    let of_series = || images(packages).filter(|package| version::series(&package.version) == Some(series));
    // A kernel whose parts are gone from the archive already is of no use.
    let is_whole = |package: &&Package| {
        package.parts().all(|(name, version)| get(packages, name, version).is_some() || !is_needed(name))
    };
    let best = of_series().filter(is_whole).filter_map(Package::flavour).max()?;
    let mut there: Vec<_> = of_series().filter(is_whole).filter(|package| package.flavour() == Some(best)).collect();
    // Of equals the last is taken.
    there.sort_by_key(|package| !package.name.ends_with("-unsigned"));
    let versions: Vec<_> = there.iter().map(|package| package.version.as_str()).collect();
    if is_series(wanted) {
        let newest = |a: &&&Package, b: &&&Package| version::compare(&a.version, &b.version);
        return there.iter().max_by(newest).copied();
    }
    version::nearest(wanted, &versions).and_then(|at| there.get(at).copied())
}

/// Without its modules a kernel boots, without its image it does not.
fn is_needed(part: &str) -> bool {
    part.starts_with("linux-binary-")
}

fn get<'a>(packages: &'a [Package], name: &str, version: &str) -> Option<&'a Package> {
    packages.iter().find(|package| package.name == name && package.version == version)
}

fn all_series(packages: &[Package]) -> Vec<String> {
    let mut all: Vec<_> = images(packages).filter_map(|package| version::series(&package.version)).collect();
    all.sort();
    all.dedup();
    all.into_iter().map(|(major, minor)| format!("{major}.{minor}")).collect()
}

/// The kernel of this package, downloaded and unpacked unless it is in the cache.
fn fetch(
    handle: &str,
    package: &Package,
    packages: &[Package],
    apt: &Apt,
    cache: &Cache,
    say: &mut dyn FnMut(&str),
) -> Result<Kernel, Error> {
    let mut wanted = vec![package];
    // In Debian's archive a version of a package is made once and never changed.
    let mut key = format!("{}_{}", package.name, package.version.replace(':', "%3a"));
    for (name, version) in package.parts() {
        match get(packages, name, version) {
            Some(part) => wanted.push(part),
            None if name.starts_with("linux-modules-") => {
                say(&format!("{name} {version} is not in Debian's archive; going on without modules"));
                // They may come yet.
                key.push_str("_bare");
            }
            None => {}
        }
    }
    let root = cache.entry("debian", &key, |into| download(&wanted, into, apt, say))?;
    unpacked(handle, &root, Some(format!("{} {}", package.name, package.version)))
}

fn download(wanted: &[&Package], into: &Path, apt: &Apt, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    with_debs(wanted, into, apt, say, |debs| unpack_all(debs, into))
}

/// What `work` makes of the packages, which are gone afterwards.
fn with_debs(
    wanted: &[&Package],
    into: &Path,
    apt: &Apt,
    say: &mut dyn FnMut(&str),
    work: impl FnOnce(&[PathBuf]) -> Result<(), Error>,
) -> Result<(), Error> {
    let size: u64 = wanted.iter().map(|package| package.size).sum();
    let names: Vec<_> = wanted.iter().map(|package| package.name.as_str()).collect();
    say(&format!("downloading {} ({} MB)", names.join(", "), size.div_ceil(1_000_000)));
    let folder = into.with_extension("debs");
    remove(&folder)?;
    let done = apt.download(wanted, &folder).and_then(|debs| work(&debs));
    remove(&folder)?;
    done
}

/// The sources of a kernel, from the package `linux-source-SERIES` whose version is nearest to `wanted`.
pub(crate) fn sources(wanted: &str, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<(PathBuf, String), Error> {
    let bad = |why: &str| Error::BadVersion { handle: wanted.to_owned(), why: why.to_owned() };
    let (major, minor) = version::series(wanted).ok_or_else(|| bad("this is no version of a kernel"))?;
    let name = format!("linux-source-{major}.{minor}");
    let apt = Apt::new(&name, cache)?;
    let is_there = |packages: &[Package]| packages.iter().any(|package| package.name == name);
    let packages = apt.packages(say, &is_there)?;
    let there: Vec<_> = packages.iter().filter(|package| package.name == name).collect();
    let versions: Vec<_> = there.iter().map(|package| package.version.as_str()).collect();
    let chosen = version::nearest(wanted, &versions).and_then(|at| there.get(at).copied());
    let chosen = chosen.ok_or_else(|| {
        let there = packages.iter().map(|package| &package.name).filter(|name| name.starts_with("linux-source-"));
        Error::NotInArchive { handle: name.clone(), there: there.cloned().collect() }
    })?;
    if !is_meant(wanted, &chosen.version) {
        say(&format!("{name} {wanted} is not in Debian's archive (any more); taking the nearest: {}", chosen.version));
    }
    let key = format!("{}_{}", chosen.name, chosen.version.replace(':', "%3a"));
    let root = cache.entry("sources", &key, |into| {
        with_debs(&[chosen], into, &apt, say, |debs| {
            fs::create_dir(into).map_err(Error::io(into))?;
            debs.iter().try_for_each(|deb| unpack_sources(deb, into))
        })
    })?;
    Ok((root, format!("{} {}", chosen.name, chosen.version)))
}

/// A folder with the headers of Debian's kernel `release`, unpacked, and what kbuild's programs need to run here.
/// Of several versions of the package it is `version`, if one is given, else the newest.
pub(crate) fn headers(
    release: &str,
    version: Option<&str>,
    cache: &Cache,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, Error> {
    let apt = Apt::new(release, cache)?;
    // Headers come and go with their kernel: where it is in the lists, reading them again finds no more.
    let image = format!("linux-image-{release}");
    let has_kernel = |packages: &[Package]| {
        let is_it = |name: &str| name.strip_suffix("-unsigned").unwrap_or(name) == image;
        packages.iter().any(|package| is_it(&package.name) && version.is_none_or(|wanted| package.version == wanted))
    };
    let packages = apt.packages(say, &has_kernel)?;
    let wanted = choose_headers(&packages, release, version)
        .map_err(|why| Error::NoHeaders { release: release.to_owned(), why })?;
    let key = wanted
        .first()
        .map_or_else(String::new, |headers| format!("{}_{}", headers.name, headers.version.replace(':', "%3a")));
    cache.entry("headers", &key, |into| {
        with_debs(&wanted, into, &apt, say, |debs| unpack_headers(debs, into))?;
        relocate(into)?;
        if kbuild::programs_run(into)? {
            return Ok(());
        }
        let libraries = LIBRARIES.iter().filter_map(|name| newest(&packages, name)).collect::<Vec<_>>();
        if libraries.len() < LIBRARIES.len() {
            let why = format!(
                "kbuild's programs want newer libraries than this machine has, and Debian's archive lacks \
                               some of {}",
                LIBRARIES.join(", ")
            );
            return Err(Error::NoHeaders { release: release.to_owned(), why });
        }
        with_debs(&libraries, into, &apt, say, |debs| unpack_headers(debs, into))?;
        kbuild::bring_libraries(into)
    })
}

/// The packages of headers: those of the flavour first, then what all have in common, and kbuild. Or why not.
fn choose_headers<'a>(
    packages: &'a [Package],
    release: &str,
    version: Option<&str>,
) -> Result<Vec<&'a Package>, String> {
    let name = format!("linux-headers-{release}");
    let found = match version {
        Some(version) => get(packages, &name, version),
        None => newest(packages, &name),
    };
    let Some(headers) = found else {
        let wanted = version.map_or_else(|| name.clone(), |version| format!("{name} {version}"));
        return Err(format!(
            "Debian's archive has no {wanted} (any more); it has headers of {}",
            series_with_headers(packages).join(", ")
        ));
    };
    let mut wanted = vec![headers];
    for kind in ["linux-headers-", "linux-kbuild-"] {
        let part = headers
            .depends
            .iter()
            .find(|(name, _)| name.starts_with(kind))
            .and_then(|(name, _)| get(packages, name, &headers.version).or_else(|| newest(packages, name)));
        let lacks = || format!("Debian's archive lacks the {kind}* that {name} {} depends on", headers.version);
        wanted.push(part.ok_or_else(lacks)?);
    }
    Ok(wanted)
}

fn series_with_headers(packages: &[Package]) -> Vec<String> {
    let is_headers = |package: &&Package| package.name.starts_with("linux-headers-") && !package.depends.is_empty();
    let mut all: Vec<_> =
        packages.iter().filter(is_headers).filter_map(|each| version::series(&each.version)).collect();
    all.sort();
    all.dedup();
    all.into_iter().map(|(major, minor)| format!("{major}.{minor}")).collect()
}

/// The Makefile of the flavour says where the package would be installed. From now on it goes by its own place.
fn relocate(root: &Path) -> Result<(), Error> {
    let makefile = kbuild::tree(root)?.join("Makefile");
    let text = fs::read_to_string(&makefile).map_err(Error::io(&makefile))?;
    fs::write(&makefile, text.replace("/usr/src/", "$(CURDIR)/../")).map_err(Error::io(&makefile))
}

impl Package {
    /// The better, the greater; None for what is no kernel for a virtual machine.
    fn flavour(&self) -> Option<u8> {
        let name = self.name.strip_prefix("linux-image-")?;
        let name = name.strip_suffix("-unsigned").unwrap_or(name).strip_suffix("-amd64")?;
        if !name.starts_with(|first: char| first.is_ascii_digit()) || name.ends_with("-rt") {
            return None;
        }
        Some(u8::from(name.ends_with("-cloud")))
    }

    /// The package of a kernel that this one depends on.
    fn image(&self) -> Option<(&str, &str)> {
        self.depends
            .iter()
            .map(|(name, version)| (name.as_str(), version.as_str()))
            .find(|(name, _)| name.starts_with("linux-image-"))
    }

    /// It is empty, and only there to be upgraded.
    fn is_meta(&self) -> bool {
        self.image().is_some()
    }

    /// The packages of the same version that have the rest of the kernel.
    fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        let depends = self.depends.iter().map(|(name, version)| (name.as_str(), version.as_str()));
        depends.filter(|(_, version)| *version == self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, depends: &[&str]) -> Package {
        let depends = depends.iter().map(|name| (name.to_string(), version.to_owned())).collect();
        Package { name: name.to_owned(), version: version.to_owned(), size: 1, depends }
    }

    fn archive() -> Vec<Package> {
        vec![
            package("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1", &[]),
            package("linux-image-6.12.95+deb13-amd64", "6.12.95-1", &[]),
            package("linux-image-6.12.95+deb13-cloud-amd64-unsigned", "6.12.95-1", &[]),
            package("linux-image-6.12.95+deb13-cloud-amd64", "6.12.95-1", &[]),
            package("linux-image-6.12.95+deb13-cloud-amd64-unsigned", "6.12.95-1", &[]),
            package("linux-image-6.12.117+deb13-amd64", "6.12.117-2", &[]),
            package("linux-image-6.12.117+deb13-rt-amd64", "6.12.117-3", &[]),
            package("linux-image-6.12.117+deb12-cloud-amd64", "6.12.117-1~deb12u1", &[]),
            package("linux-image-6.12.117+deb13-cloud-amd64", "6.12.117-1", &[]),
            package("linux-image-cloud-amd64", "6.12.117-1", &["linux-image-6.12.117+deb13-cloud-amd64"]),
            package("linux-image-6.12-cloud-amd64", "6.12.118-1", &["linux-image-6.12.118+deb12-cloud-amd64"]),
            package("linux-image-6.19.1+deb13-amd64", "6.19.1-1", &[]),
            package("linux-image-7.3-cloud-amd64", "7.3~rc7-1", &["linux-binary-7.3-cloud-amd64"]),
            package("linux-binary-7.3-cloud-amd64", "7.3~rc7-1", &[]),
            package("linux-image-7.3.4-cloud-amd64", "7.3.4-1", &["linux-binary-7.3.4-cloud-amd64"]),
        ]
    }

    fn chosen(wanted: &str) -> Option<String> {
        let archive = archive();
        let chosen = choose(&archive, wanted, version::series(wanted).unwrap())?;
        Some(format!("{} {}", chosen.name, chosen.version))
    }

    #[test]
    fn a_series_is_its_newest_signed_cloud_kernel() {
        assert_eq!(chosen("6.12").unwrap(), "linux-image-6.12.117+deb13-cloud-amd64 6.12.117-1");
        assert_eq!(chosen("6.1").unwrap(), "linux-image-6.1.0-50-cloud-amd64 6.1.176-1");
        assert_eq!(chosen("6.19").unwrap(), "linux-image-6.19.1+deb13-amd64 6.19.1-1", "there is no other flavour");
        assert_eq!(chosen("5.10"), None);
    }

    #[test]
    fn a_version_is_itself_or_the_nearest() {
        assert_eq!(chosen("6.12.95-1").unwrap(), "linux-image-6.12.95+deb13-cloud-amd64 6.12.95-1");
        assert_eq!(chosen("6.12.117-1~deb12u1").unwrap(), "linux-image-6.12.117+deb12-cloud-amd64 6.12.117-1~deb12u1");
        assert_eq!(chosen("6.12.117").unwrap(), "linux-image-6.12.117+deb13-cloud-amd64 6.12.117-1");
        assert_eq!(chosen("6.12.100-1").unwrap(), "linux-image-6.12.95+deb13-cloud-amd64 6.12.95-1");
        assert!(is_meant("6.12.95", "6.12.95-1") && !is_meant("6.12.95-2", "6.12.95-1"));
        assert!(is_series("6.12") && !is_series("6.12.95") && !is_series("7.3~rc7"));
    }

    #[test]
    fn a_kernel_whose_image_is_gone_is_passed_over() {
        assert_eq!(chosen("7.3").unwrap(), "linux-image-7.3-cloud-amd64 7.3~rc7-1");
    }

    fn headers_of(release: &str, version: Option<&str>) -> Result<Vec<String>, String> {
        let depends = |common: &str, kbuild: &str, version: &str| {
            vec![
                (common.to_owned(), version.to_owned()),
                ("linux-image-6.1.0-50-cloud-amd64".to_owned(), version.to_owned()),
                (kbuild.to_owned(), String::new()),
            ]
        };
        let headers = |release: &str, version: &str, common: &str, kbuild: &str| Package {
            depends: depends(common, kbuild, version),
            ..package(&format!("linux-headers-{release}-cloud-amd64"), version, &[])
        };
        let archive = [
            headers("6.1.0-50", "6.1.176-1", "linux-headers-6.1.0-50-common", "linux-kbuild-6.1"),
            package("linux-headers-6.1.0-50-common", "6.1.176-1", &[]),
            package("linux-kbuild-6.1", "6.1.170-1", &[]),
            package("linux-kbuild-6.1", "6.1.192-2", &[]),
            headers("7.2.1", "7.2.1-1~bpo13+1", "linux-headers-7.2.1-common", "linux-kbuild-7.2.1"),
            headers("7.2.1", "7.2.1-1", "linux-headers-7.2.1-common", "linux-kbuild-7.2.1"),
            package("linux-headers-7.2.1-common", "7.2.1-1", &[]),
            package("linux-kbuild-7.2.1", "7.2.1-1", &[]),
            headers("7.3.1", "7.3.1-1", "linux-headers-7.3.1-common", "linux-kbuild-7.3.1"),
        ];
        let found = choose_headers(&archive, &format!("{release}-cloud-amd64"), version)?;
        Ok(found.iter().map(|package| format!("{} {}", package.name, package.version)).collect())
    }

    #[test]
    fn headers_come_in_three_packages() {
        let all = [
            "linux-headers-7.2.1-cloud-amd64 7.2.1-1",
            "linux-headers-7.2.1-common 7.2.1-1",
            "linux-kbuild-7.2.1 7.2.1-1",
        ];
        assert_eq!(headers_of("7.2.1", None).unwrap(), all, "the newest");
        assert_eq!(headers_of("7.2.1", Some("7.2.1-1")).unwrap(), all);
        let all = headers_of("6.1.0-50", Some("6.1.176-1")).unwrap();
        assert_eq!(all[2], "linux-kbuild-6.1 6.1.192-2", "kbuild of the series, the newest");
    }

    #[test]
    fn headers_that_are_gone_are_told() {
        let why = headers_of("6.16.1", Some("6.16.1-1")).unwrap_err();
        assert!(why.contains("no linux-headers-6.16.1-cloud-amd64 6.16.1-1"), "{why}");
        assert!(why.ends_with("headers of 6.1, 7.2, 7.3"), "{why}");
        assert!(headers_of("6.1.0-50", Some("6.1.177-1")).is_err(), "another version has another layout");
        let why = headers_of("7.3.1", None).unwrap_err();
        assert!(why.contains("lacks the linux-headers-*"), "{why}");
    }

    #[test]
    fn series_are_told_in_order() {
        assert_eq!(all_series(&archive()), ["6.1", "6.12", "6.19", "7.3"]);
    }
}
