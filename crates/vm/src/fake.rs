//! Small kernels, modules and packages for the tests.

/// An ELF file as a kernel is one: a program header, and a note that is PVH's or somebody else's.
pub(crate) fn vmlinux(pvh: bool) -> Vec<u8> {
    let mut file = elf_header();
    file[16] = 2;
    put(&mut file, 32, &64u64.to_le_bytes());
    put(&mut file, 54, &56u16.to_le_bytes());
    put(&mut file, 56, &1u16.to_le_bytes());
    let mut notes = note(1, b"GNU\0", &[0; 20]);
    notes.extend(note(if pvh { 18 } else { 17 }, b"Xen\0", &[0; 8]));
    let mut segment = vec![0; 56];
    put(&mut segment, 0, &4u32.to_le_bytes());
    put(&mut segment, 8, &(64u64 + 56).to_le_bytes());
    put(&mut segment, 32, &(notes.len() as u64).to_le_bytes());
    file.extend(segment);
    file.extend(notes);
    file.extend(b"Linux version %s\0Linux version 6.12.1-fake (somebody@somewhere)\0");
    file
}

/// A kernel module with this in its .modinfo.
pub(crate) fn module(info: &[&str]) -> Vec<u8> {
    let mut file = elf_header();
    file[16] = 1;
    let names = b"\0.shstrtab\0.modinfo\0";
    let info: Vec<u8> = info.iter().flat_map(|entry| [entry.as_bytes(), b"\0"].concat()).collect();
    let table = 64 + names.len() + info.len();
    put(&mut file, 40, &(table as u64).to_le_bytes());
    put(&mut file, 58, &64u16.to_le_bytes());
    put(&mut file, 60, &3u16.to_le_bytes());
    put(&mut file, 62, &1u16.to_le_bytes());
    file.extend(names);
    file.extend(&info);
    for (name, from, length) in [(0, 0, 0), (1, 64, names.len()), (11, 64 + names.len(), info.len())] {
        let mut header = vec![0; 64];
        put(&mut header, 0, &(name as u32).to_le_bytes());
        put(&mut header, 24, &(from as u64).to_le_bytes());
        put(&mut header, 32, &(length as u64).to_le_bytes());
        file.extend(header);
    }
    file
}

/// A bzImage with this payload, which is followed by its unpacked length as Linux has it.
pub(crate) fn bzimage(release: &str, payload: &[u8], unpacked: usize) -> Vec<u8> {
    let setup = 2 * 512;
    let mut file = vec![0; setup];
    file[..2].copy_from_slice(b"MZ");
    file[0x1f1] = 1;
    put(&mut file, 0x1fe, &[0x55, 0xaa]);
    put(&mut file, 0x202, b"HdrS");
    put(&mut file, 0x206, &0x20fu16.to_le_bytes());
    put(&mut file, 0x20e, &0x100u16.to_le_bytes());
    put(&mut file, 0x236, &1u16.to_le_bytes());
    put(&mut file, 0x300, format!("{release} (somebody@somewhere) #1 SMP\0").as_bytes());
    let mut payload = payload.to_vec();
    payload.extend((unpacked as u32).to_le_bytes());
    put(&mut file, 0x248, &16u32.to_le_bytes());
    put(&mut file, 0x24c, &(payload.len() as u32).to_le_bytes());
    file.extend([0x90; 16]);
    file.extend(payload);
    file.resize((file.len() - setup).next_multiple_of(16) + setup, 0);
    let paragraphs = (file.len() - setup) / 16;
    put(&mut file, 0x1f4, &(paragraphs as u32).to_le_bytes());
    file
}

/// `data` as `lz4 -l` writes it, without any attempt to make it smaller.
pub(crate) fn lz4(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x02, 0x21, 0x4c, 0x18];
    for chunk in data.chunks(14) {
        out.extend((chunk.len() as u32 + 1).to_le_bytes());
        out.push((chunk.len() as u8) << 4);
        out.extend(chunk);
    }
    out
}

/// A package with this control file and these files.
pub(crate) fn deb(control: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let control = tar(&[("./control", control.as_bytes())]);
    let data = tar(files);
    ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data)])
}

/// An archive as ar writes it.
pub(crate) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in members {
        out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, content.len()).into_bytes());
        out.extend(*content);
        if content.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

/// The paths are taken as they are, wrong ones, too.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn elf_header() -> Vec<u8> {
    let mut header = vec![0; 64];
    header[..6].copy_from_slice(b"\x7fELF\x02\x01");
    header[18] = 62;
    header
}

fn note(kind: u32, name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [name.len() as u32, content.len() as u32, kind] {
        out.extend(word.to_le_bytes());
    }
    out.extend(name);
    out.extend(content);
    out
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}
