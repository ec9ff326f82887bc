//! The file operations that the log needs, as a trait, so that tests can make each of them fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A file open for append.
pub trait AppendFile: Send {
    /// Append some of `bytes`; how many. May write less than asked, also before an error.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Cut the file; later writes go to its new end.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    /// Another handle of the same file, to sync without holding up appends.
    fn duplicate(&self) -> io::Result<Box<dyn AppendFile>>;
}

/// One directory tree.
pub trait LogFs: Send + Sync {
    /// Names in a directory with the sizes of files; what is no file has None. Empty when it does not exist.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Option<u64>)>>;
    /// Create a file that must not exist yet, and its directory.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// Open an existing file for append.
    fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Remove a directory with all that is in it.
    fn remove_tree(&self, dir: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The operating system's files.
pub struct OsFs;

impl AppendFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn duplicate(&self) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(self.try_clone()?))
    }
}

impl LogFs for OsFs {
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Option<u64>)>> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            // Follows a link; a file that vanished or a link to nowhere is no file.
            let meta = std::fs::metadata(entry.path());
            if let Ok(name) = entry.file_name().into_string() {
                let bytes = meta.ok().filter(|m| m.is_file()).map(|m| m.len());
                found.push((name, bytes));
            }
        }
        found.sort();
        Ok(found)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut options = OpenOptions::new();
        Ok(Box::new(options.append(true).create_new(true).open(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_tree(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// Path of a segment.
pub fn segment_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}"))
}

#[cfg(test)]
pub mod faulty {
    //! Files in memory whose operations fail on demand.

    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Default)]
    pub struct State {
        pub files: BTreeMap<PathBuf, Vec<u8>>,
        /// Bytes that may still be written before the disk is full.
        pub room: Option<u64>,
        pub fail_truncate: bool,
        pub fail_sync: bool,
        /// Most bytes that one write takes.
        pub write_max: Option<usize>,
        pub syncs: u64,
        /// Changes of the tree that are still carried out; after them comes a crash.
        pub changes_left: Option<u64>,
    }

    impl State {
        /// A change is about to be made.
        fn change(&mut self) -> io::Result<()> {
            match &mut self.changes_left {
                None => Ok(()),
                Some(0) => Err(io::Error::other("crashed")),
                Some(left) => {
                    *left -= 1;
                    Ok(())
                }
            }
        }
    }

    #[derive(Clone, Default)]
    pub struct MemFs(pub Arc<Mutex<State>>);

    struct MemFile {
        fs: MemFs,
        path: PathBuf,
    }

    fn full() -> io::Error {
        io::Error::from_raw_os_error(28)
    }

    impl AppendFile for MemFile {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.fs.0.lock().unwrap();
            state.change()?;
            let mut n = bytes.len().min(state.write_max.unwrap_or(usize::MAX));
            if let Some(room) = state.room {
                if room == 0 {
                    return Err(full());
                }
                n = n.min(room as usize);
                state.room = Some(room - n as u64);
            }
            let file = state.files.get_mut(&self.path).expect("file exists");
            file.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn truncate(&mut self, len: u64) -> io::Result<()> {
            let mut state = self.fs.0.lock().unwrap();
            if state.fail_truncate {
                return Err(io::Error::other("truncate fails"));
            }
            state
                .files
                .get_mut(&self.path)
                .expect("file exists")
                .truncate(len as usize);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            let mut state = self.fs.0.lock().unwrap();
            state.syncs += 1;
            if state.fail_sync {
                return Err(io::Error::other("sync fails"));
            }
            Ok(())
        }

        fn duplicate(&self) -> io::Result<Box<dyn AppendFile>> {
            Ok(Box::new(MemFile {
                fs: self.fs.clone(),
                path: self.path.clone(),
            }))
        }
    }

    impl LogFs for MemFs {
        fn list(&self, dir: &Path) -> io::Result<Vec<(String, Option<u64>)>> {
            let state = self.0.lock().unwrap();
            let files = state
                .files
                .iter()
                .filter(|(path, _)| path.parent() == Some(dir));
            let inner = |path: &PathBuf| {
                let below = path.strip_prefix(dir).ok()?;
                let mut parts = below.components();
                let first = parts.next()?.as_os_str().to_str()?.to_string();
                parts.next().map(|_| (first, None))
            };
            let dirs: std::collections::BTreeSet<_> =
                state.files.keys().filter_map(inner).collect();
            Ok(files
                .map(|(path, data)| {
                    let name = path.file_name().unwrap().to_str().unwrap();
                    (name.to_string(), Some(data.len() as u64))
                })
                .chain(dirs)
                .collect())
        }

        fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
            let mut state = self.0.lock().unwrap();
            state.change()?;
            if state.files.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if state.room == Some(0) {
                return Err(full());
            }
            state.files.insert(path.into(), Vec::new());
            drop(state);
            self.append(path)
        }

        fn append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
            if !self.0.lock().unwrap().files.contains_key(path) {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(Box::new(MemFile {
                fs: self.clone(),
                path: path.into(),
            }))
        }

        fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
            let state = self.0.lock().unwrap();
            let data = state.files.get(path).ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(io::Cursor::new(data.clone())))
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            let mut state = self.0.lock().unwrap();
            state.change()?;
            let moved: Vec<PathBuf> = state
                .files
                .keys()
                .filter(|p| p.starts_with(from))
                .cloned()
                .collect();
            if moved.is_empty() {
                return Err(io::ErrorKind::NotFound.into());
            }
            for path in moved {
                let data = state.files.remove(&path).expect("it is there");
                let target = match path.strip_prefix(from) {
                    Ok(below) if below.as_os_str().is_empty() => to.to_path_buf(),
                    Ok(below) => to.join(below),
                    Err(_) => unreachable!("it starts with it"),
                };
                state.files.insert(target, data);
            }
            Ok(())
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            let mut state = self.0.lock().unwrap();
            state.change()?;
            state.files.remove(path);
            Ok(())
        }

        fn remove_tree(&self, dir: &Path) -> io::Result<()> {
            let mut state = self.0.lock().unwrap();
            state.change()?;
            // A crash may leave some of it.
            state.files.retain(|path, _| !path.starts_with(dir));
            Ok(())
        }

        fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
            Ok(())
        }
    }
}
