//! The port through which a guest speaks to its host: the second serial port, which every kernel has.

use std::fs::{File, OpenOptions};
use std::io;

use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

/// The device.
const PORT: &str = "/dev/ttyS1";

/// Opens it, to be written as it is: a terminal would put a carriage return before each new line.
pub(super) fn open() -> io::Result<File> {
    let port = OpenOptions::new().read(true).write(true).open(PORT)?;
    let mut settings = tcgetattr(&port)?;
    settings.make_raw();
    tcsetattr(&port, OptionalActions::Now, &settings)?;
    Ok(port)
}

/// Waits until everything has been sent.
pub(super) fn drain(port: &File) {
    let _ = tcdrain(port);
}
