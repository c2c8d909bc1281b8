//! What can go wrong, said so that the reader knows what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no kernel, or nothing of it that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The handle is neither a file nor anything else that is known.
    #[error("{handle}: there is no such file. {HANDLES}")]
    NoSuchFile {
        /// As the user gave it.
        handle: String,
    },
    /// The file or folder is there, but it is no kernel.
    #[error("{}: {why}", path.display())]
    NoKernel {
        /// What was looked at.
        path: PathBuf,
        /// What was wanted, what was found, what to do.
        why: String,
    },
    /// The version in the handle cannot be read.
    #[error("{handle}: {why}. Give a series like debian:6.12, or a version like debian:6.12.95-1")]
    BadVersion {
        /// As the user gave it.
        handle: String,
        /// What is wrong with it.
        why: String,
    },
    /// The archive has no kernel of that series or of that name.
    #[error("{handle}: not in Debian's archive; there are {}", there.join(", "))]
    NotInArchive {
        /// As the user gave it.
        handle: String,
        /// What there is, oldest first.
        there: Vec<String>,
    },
    /// apt-get and apt-cache are needed, and not here.
    #[error("{handle}: {program} is not on this machine, and Debian's kernels come through it. {HANDLES}")]
    NoApt {
        /// As the user gave it.
        handle: String,
        /// The program that was looked for.
        program: &'static str,
    },
    /// apt did not do it.
    #[error("{what} failed: {said}")]
    AptFailed {
        /// What was asked of it.
        what: String,
        /// The last lines of what it said.
        said: String,
    },
    /// There is nothing to build modules with for this kernel.
    #[error("no headers of {release} to build a module with: {why}")]
    NoHeaders {
        /// Of the kernel.
        release: String,
        /// What was looked for, what was found, what to do.
        why: String,
    },
    /// A program that building needs is not here.
    #[error("building a module needs {program}, which is not on this machine; on Debian: apt-get install {package}")]
    NoTool {
        /// The program that was looked for.
        program: &'static str,
        /// Where it comes from.
        package: &'static str,
    },
    /// The build came to nothing.
    #[error("the module for {release} could not be built: {said}")]
    BuildFailed {
        /// Of the kernel.
        release: String,
        /// What make said.
        said: String,
    },
    /// A package, or a file in it, is not what it has to be.
    #[error("{}: {why}", path.display())]
    Broken {
        /// The package, or the file of the kernel.
        path: PathBuf,
        /// What was wanted and what was found.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a handle may be; for errors, so that nobody has to look it up.
const HANDLES: &str = "A kernel is a bzImage or vmlinuz, a kernel's build tree, an unpacked package, a .deb file, \
                       the name of a Debian package (linux-image-...), or debian:VERSION (debian:6.12)";

impl Error {
    pub(crate) fn no_kernel(path: &Path, why: impl Into<String>) -> Error {
        Error::NoKernel { path: path.to_owned(), why: why.into() }
    }

    pub(crate) fn broken(path: &Path, why: impl Into<String>) -> Error {
        Error::Broken { path: path.to_owned(), why: why.into() }
    }

    /// For `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::Io { path: path.to_owned(), source }
    }
}
