//! A storage that does not sync names, for the tests that this is caught.

use std::io;
use std::sync::Arc;

use super::{Storage, StorageFile};

#[derive(Debug)]
pub(crate) struct Forgetful(pub(crate) Arc<dyn Storage>);

impl Storage for Forgetful {
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn StorageFile>> {
        self.0.create(name, size)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.0.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }
}
