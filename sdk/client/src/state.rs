//! The few facts that must survive a restart: who this device is, and until when the server asked it
//! to stay away.

mod floors;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use uuid::{Uuid, Variant};

pub(crate) use floors::{FloorFile, Moment, Until, wall_ms};

use crate::error::BuildError;

/// A directory of our own. Files are replaced as a whole, never written in place.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Makes the directory where it is missing, and finds out now whether it can be written.
    pub(crate) fn open(path: PathBuf) -> Result<Self, BuildError> {
        let dir = Self { path };
        let probe = dir.temporary("probe");
        fs::create_dir_all(&dir.path)
            .and_then(|()| File::create(&probe))
            .and_then(|_| fs::remove_file(&probe))
            .map_err(|source| unusable(&dir.path, source))?;
        Ok(dir)
    }

    /// The device's id; made and kept at the first call.
    pub(crate) fn device_id(&self) -> Result<Uuid, BuildError> {
        let path = self.path.join(DEVICE_ID);
        if let Some(known) = read_device_id(&path)? {
            return Ok(known);
        }
        let fresh = Uuid::new_v4();
        let draft = self.temporary(DEVICE_ID);
        let placed = write_durably(&draft, format!("{fresh}\n").as_bytes())
            .and_then(|()| place_new(&draft, &path));
        if placed.is_err() {
            // On a full disk of all places nothing is left lying about.
            let _ = fs::remove_file(&draft);
        }
        placed.map_err(|source| unusable(&path, source))?;
        sync_dir(&self.path);
        // Another process may have been faster: whatever lies there now is the device's id.
        read_device_id(&path)?.ok_or_else(|| {
            let gone = io::Error::new(io::ErrorKind::NotFound, "vanished after it was written");
            unusable(&path, gone)
        })
    }

    /// Where the floors are kept, with what was kept there.
    pub(crate) fn floors(&self) -> Result<(FloorFile, Option<Until>), BuildError> {
        let path = self.path.join(FLOORS);
        let kept = match read(&path)? {
            Some(text) => Some(Until::parse(&text).map_err(|reason| corrupt(&path, reason))?),
            None => None,
        };
        let file = FloorFile::new(path, self.temporary(FLOORS));
        Ok((file, kept))
    }

    /// A name that no other process uses.
    fn temporary(&self, name: &str) -> PathBuf {
        let process = std::process::id();
        self.path
            .join(format!(".{name}.{process}-{:08x}.tmp", fastrand::u32(..)))
    }
}

/// Whether the service takes this id for a device's: it makes up a new device for any other.
pub(crate) fn is_device_id(id: &Uuid) -> bool {
    id.get_variant() == Variant::RFC4122 && (1..=8).contains(&id.get_version_num())
}

fn read_device_id(path: &Path) -> Result<Option<Uuid>, BuildError> {
    let Some(text) = read(path)? else {
        return Ok(None);
    };
    let id = Uuid::try_parse(text.trim()).ok().filter(is_device_id);
    id.map(Some)
        .ok_or_else(|| corrupt(path, "it holds no UUID of version 1 to 8".into()))
}

/// What one of our small files holds; `None` where there is none.
fn read(path: &Path) -> Result<Option<String>, BuildError> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > FILE_BYTES_MAX => {
            Err(corrupt(path, "it is larger than any of ours".into()))
        }
        Ok(_) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            Err(corrupt(path, "it is not text".into()))
        }
        Err(e) => Err(unusable(path, e)),
    }
}

/// Replaces `path` durably: after a crash there is the old content or the new one.
pub(crate) fn replace(path: &Path, draft: &Path, content: &[u8]) -> io::Result<()> {
    let written = write_durably(draft, content).and_then(|()| fs::rename(draft, path));
    if written.is_err() {
        let _ = fs::remove_file(draft);
    }
    written?;
    if let Some(dir) = path.parent() {
        sync_dir(dir);
    }
    Ok(())
}

fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Gives the draft its name unless that is taken.
fn place_new(draft: &Path, path: &Path) -> io::Result<()> {
    let placed = match fs::hard_link(draft, path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Ok(()) => Ok(()),
        // A filesystem without links; two first starts at the same moment are not told apart there.
        Err(_) => fs::rename(draft, path),
    };
    let _ = fs::remove_file(draft);
    placed
}

/// Makes a rename durable where directories can be synced; elsewhere it is as durable as it gets.
fn sync_dir(path: &Path) {
    if let Ok(dir) = File::open(path) {
        let _ = dir.sync_all();
    }
}

fn unusable(path: &Path, source: io::Error) -> BuildError {
    BuildError::StateUnusable {
        path: path.to_owned(),
        source,
    }
}

fn corrupt(path: &Path, reason: String) -> BuildError {
    BuildError::StateCorrupt {
        path: path.to_owned(),
        reason,
    }
}

const DEVICE_ID: &str = "device-id";
const FILE_BYTES_MAX: u64 = 4 << 10;
const FLOORS: &str = "floors.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path().join("deep/er")).unwrap();
        let id = state.device_id().unwrap();
        assert!(is_device_id(&id));
        let again = StateDir::open(dir.path().join("deep/er")).unwrap();
        assert_eq!(again.device_id().unwrap(), id);
        let files: Vec<_> = fs::read_dir(&state.path).unwrap().collect();
        assert_eq!(files.len(), 1, "no drafts are left behind: {files:?}");
    }

    #[test]
    fn first_starts_at_the_same_moment_agree_on_one_id() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let starts: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || StateDir::open(path).unwrap().device_id().unwrap())
            })
            .collect();
        let ids: Vec<_> = starts.into_iter().map(|s| s.join().unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn a_corrupt_device_id_is_reported_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DEVICE_ID);
        for garbage in [
            &b""[..],
            b"hello",
            b"\xff\xfe",
            b"00000000-0000-0000-0000-000000000000",
            &[b' '; 1 << 20],
        ] {
            fs::write(&path, garbage).unwrap();
            let state = StateDir::open(dir.path().to_owned()).unwrap();
            let error = state.device_id().unwrap_err();
            assert!(matches!(error, BuildError::StateCorrupt { .. }), "{error}");
            assert_eq!(fs::read(&path).unwrap(), garbage);
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "in the way").unwrap();
        let error = StateDir::open(file.join("state")).unwrap_err();
        assert!(matches!(error, BuildError::StateUnusable { .. }), "{error}");
    }

    /// Needs a user whom permissions stop, and a system that has such.
    #[test]
    #[cfg(unix)]
    fn a_read_only_directory_is_reported_and_left_as_it_is() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
        if File::create(dir.path().join("root-may")).is_ok() {
            return;
        }
        let error = StateDir::open(dir.path().to_owned()).unwrap_err();
        assert!(matches!(error, BuildError::StateUnusable { .. }), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// `/dev/full` takes every file and no byte.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_reported_and_what_was_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (path, draft) = (dir.path().join(FLOORS), dir.path().join("draft"));
        fs::write(&path, "before").unwrap();
        std::os::unix::fs::symlink("/dev/full", &draft).unwrap();
        let error = replace(&path, &draft, b"after").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        assert!(!draft.exists(), "the draft is gone");
    }

    #[test]
    fn only_uuids_that_the_service_accepts_are_device_ids() {
        for (text, fine) in [
            ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", true),
            ("f81d4fae-7dec-41d0-a765-00a0c91e6bf6", true),
            ("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", true),
            ("00000000-0000-0000-0000-000000000000", false),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", false),
            ("f81d4fae-7dec-91d0-a765-00a0c91e6bf6", false),
            ("f81d4fae-7dec-41d0-c765-00a0c91e6bf6", false),
        ] {
            let id = Uuid::try_parse(text).unwrap();
            assert_eq!(is_device_id(&id), fine, "{text}");
        }
    }
}
