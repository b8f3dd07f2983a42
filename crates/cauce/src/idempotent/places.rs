//! Places for the marks of calls.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Where marks are kept, each place for one call at a time.
pub(super) struct Places {
    permits: Semaphore,
    free: Mutex<Vec<usize>>,
}

/// A place, until it is dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    pub(super) number: usize,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self { permits: Semaphore::new(count), free: Mutex::new((0..count).rev().collect()) }
    }

    pub(super) async fn take(&self) -> Place<'_> {
        // Nobody closes the semaphore, and there are as many permits as places.
        let permit = self.permits.acquire().await.ok();
        Place { places: self, number: self.lock().pop().unwrap_or(0), _permit: permit }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Taken next: a bus that publishes one after the other needs one place.
        self.places.lock().push(self.number);
    }
}
