//! What kernels, modules and packages are compressed with.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::num::NonZeroUsize;
use std::path::Path;

use flate2::read::GzDecoder;
use ruzstd::decoding::StreamingDecoder;
use xz4rust::{XzDecoder, XzReader};

use crate::Error;

/// More than any of them asks for: `xz -9` and `zstd --ultra -22`, which kernels are packed with, look back 128 MiB.
const LOOK_BACK: usize = 128 << 20;

/// How something is compressed, as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Xz,
    Zstd,
    Lz4,
    /// One that only the kernel itself unpacks.
    Other(&'static str),
}

impl Packing {
    pub(crate) fn of(data: &[u8]) -> Option<Packing> {
        const MAGIC: [(&[u8], Packing); 7] = [
            (&[0x1f, 0x8b], Packing::Gzip),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Packing::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Packing::Zstd),
            (&LZ4_LEGACY, Packing::Lz4),
            (b"BZh", Packing::Other("bzip2")),
            (&[0x5d, 0, 0], Packing::Other("lzma")),
            (&[0x89, b'L', b'Z', b'O'], Packing::Other("lzo")),
        ];
        MAGIC.iter().find(|(magic, _)| data.starts_with(magic)).map(|(_, packing)| *packing)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Xz => "xz",
            Packing::Zstd => "zstd",
            Packing::Lz4 => "lz4",
            Packing::Other(name) => name,
        }
    }

    /// What `source` becomes.
    pub(crate) fn reader(self, source: impl Read + 'static) -> Result<Box<dyn Read>, String> {
        Ok(match self {
            Packing::Gzip => Box::new(GzDecoder::new(source)),
            Packing::Xz => {
                let decoder = XzDecoder::in_heap_with_alloc_dict_size(0, LOOK_BACK);
                let buffer = NonZeroUsize::new(1 << 16).ok_or("no buffer")?;
                Box::new(XzReader::new_with_buffer_size_and_decoder(source, buffer, decoder))
            }
            Packing::Zstd => Box::new(
                StreamingDecoder::new_with_max_window_size(source, LOOK_BACK as u64)
                    .map_err(|error| format!("not zstd: {error}"))?,
            ),
            Packing::Lz4 | Packing::Other(_) => return Err(format!("{} is not unpacked here", self.name())),
        })
    }

    /// All of `data` unpacked, if that is no more than `most` bytes.
    pub(crate) fn unpack(self, data: &[u8], most: usize) -> Result<Vec<u8>, String> {
        if self == Packing::Lz4 {
            return lz4_legacy(data, most);
        }
        let mut out = Vec::new();
        // The readers own what they read.
        let reader = self.reader(Cursor::new(data.to_vec()))?;
        let read = reader.take(most as u64 + 1).read_to_end(&mut out);
        read.map_err(|error| format!("broken {} data: {error}", self.name()))?;
        if out.len() > most { Err(too_long(most)) } else { Ok(out) }
    }
}

/// All of a file, if it has no more than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    // A folder opens, too, and a device has no end.
    let meta = file.metadata().map_err(Error::io(path))?;
    if !meta.is_file() {
        return Err(Error::broken(path, "this is no file"));
    }
    let mut out = Vec::new();
    file.take(most + 1).read_to_end(&mut out).map_err(Error::io(path))?;
    if out.len() as u64 > most { Err(Error::broken(path, too_long(most as usize))) } else { Ok(out) }
}

/// `read` until the buffer is full or there is no more.
pub(crate) fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while let Some(rest) = buffer.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

fn too_long(most: usize) -> String {
    format!("it has more than the {most} bytes it should have at most")
}

const LZ4_LEGACY: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// Every block but the last becomes as much as this.
const LZ4_BLOCK: usize = 8 << 20;

/// The format that `lz4 -l` writes and Linux is packed with: blocks, each after its length.
fn lz4_legacy(data: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut block = vec![0; LZ4_BLOCK];
    let mut rest = data;
    while let Some((word, behind)) = rest.split_first_chunk::<4>() {
        rest = behind;
        // Where streams were put together the next begins anew.
        if *word == LZ4_LEGACY {
            continue;
        }
        let length = u32::from_le_bytes(*word) as usize;
        let Some((packed, behind)) = rest.split_at_checked(length) else {
            return Err(format!("broken lz4 data: a block of {length} bytes where {} are left", rest.len()));
        };
        rest = behind;
        let count = lz4_flex::block::decompress_into(packed, &mut block)
            .map_err(|error| format!("broken lz4 data: {error}"))?;
        out.extend_from_slice(block.get(..count).unwrap_or_default());
        if out.len() > most {
            return Err(too_long(most));
        }
    }
    if rest.is_empty() { Ok(out) } else { Err("broken lz4 data: it ends within a block".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An lz4 block of literals alone: nothing in it refers back.
    fn literals(data: &[u8]) -> Vec<u8> {
        assert!(data.len() < 15);
        let mut block = vec![(data.len() as u8) << 4];
        block.extend_from_slice(data);
        block
    }

    fn legacy(parts: &[&[u8]]) -> Vec<u8> {
        let mut out = LZ4_LEGACY.to_vec();
        for part in parts {
            let block = literals(part);
            out.extend_from_slice(&(block.len() as u32).to_le_bytes());
            out.extend_from_slice(&block);
        }
        out
    }

    #[test]
    fn lz4_blocks_follow_each_other() {
        let packed = legacy(&[b"cow", b"check"]);
        assert_eq!(Packing::of(&packed), Some(Packing::Lz4));
        assert_eq!(Packing::Lz4.unpack(&packed, 8).unwrap(), b"cowcheck");
        assert!(Packing::Lz4.unpack(&packed, 7).is_err(), "one more than allowed");
        for cut in 5..packed.len() {
            // Whole blocks are whole; the caller knows the length that it has to be.
            let whole = cut == 4 + 4 + 4;
            assert_eq!(Packing::Lz4.unpack(&packed[..cut], 8).is_ok(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn more_than_allowed_is_refused_before_it_is_had() {
        let packed = gzip(&vec![0; 1 << 20]);
        assert!(packed.len() < 1 << 14);
        assert_eq!(Packing::Gzip.unpack(&packed, 1 << 20).unwrap().len(), 1 << 20);
        assert!(Packing::Gzip.unpack(&packed, (1 << 20) - 1).unwrap_err().contains("more than"));
        assert!(Packing::Gzip.unpack(&packed[..packed.len() - 9], 1 << 20).is_err(), "truncated");
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }
}
