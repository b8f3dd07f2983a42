//! Numbered places in pages, which clones share until one of them changes a page.

use std::sync::Arc;

/// Places per page: what the first change after a clone copies.
pub(super) const PAGE_PLACES: usize = 128;

/// Elements in numbered places; a place may be free. Free places at the end go at once, so that walking a slab
/// that has shrunk costs no more than it must.
#[derive(Debug, Clone)]
pub(super) struct Slab<E> {
    /// All full but the last; none is empty.
    pages: Vec<Arc<Vec<Option<E>>>>,
}

impl<E> Default for Slab<E> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<E: Clone> Slab<E> {
    /// How many places there are, free ones included.
    pub(super) fn len(&self) -> u32 {
        let full = self.pages.len().saturating_sub(1) * PAGE_PLACES;
        (full + self.pages.last().map_or(0, |page| page.len())) as u32
    }

    /// What is at a place; `None` if it is free or beyond the end.
    pub(super) fn get(&self, at: u32) -> Option<&E> {
        let (page, place) = split(at);
        self.pages.get(page)?.get(place)?.as_ref()
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut E> {
        let (page, place) = split(at);
        Arc::make_mut(self.pages.get_mut(page)?).get_mut(place)?.as_mut()
    }

    /// Adds a place at the end.
    pub(super) fn push(&mut self, element: E) {
        assert!(self.len() < u32::MAX, "a slab holds fewer than 2^32 elements");
        match self.pages.last_mut() {
            Some(page) if page.len() < PAGE_PLACES => Arc::make_mut(page).push(Some(element)),
            _ => {
                // A slab that has filled a page will fill the next; most never do.
                let mut page = Vec::with_capacity(if self.pages.is_empty() { 1 } else { PAGE_PLACES });
                page.push(Some(element));
                self.pages.push(Arc::new(page));
            }
        }
    }

    /// Uses a free place.
    pub(super) fn fill(&mut self, at: u32, element: E) {
        let (page, place) = split(at);
        let page = Arc::make_mut(self.pages.get_mut(page).expect("the place is there"));
        let free = page.get_mut(place).expect("the place is there");
        assert!(free.is_none(), "the place is free");
        *free = Some(element);
    }

    /// Frees a place, and gives what was there.
    pub(super) fn take(&mut self, at: u32) -> Option<E> {
        let (page, place) = split(at);
        let element = Arc::make_mut(self.pages.get_mut(page)?).get_mut(place)?.take();
        self.trim();
        element
    }

    /// Takes out what is at a place of the first page; those behind it on that page move up.
    pub(super) fn shift_out(&mut self, at: u32) -> Option<E> {
        let page = Arc::make_mut(self.pages.first_mut()?);
        let place = at as usize;
        let element = (place < page.len()).then(|| page.remove(place))?;
        self.trim();
        element
    }

    /// What there is, with its places, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &E)> {
        self.iter_from(0)
    }

    /// The same, from a place on.
    pub(super) fn iter_from(&self, from: usize) -> impl Iterator<Item = (u32, &E)> {
        let (first, skip) = (from / PAGE_PLACES, from % PAGE_PLACES);
        let pages = self.pages.iter().enumerate().skip(first);
        let places = pages.flat_map(move |(index, page)| {
            let skip = if index == first { skip } else { 0 };
            let places = page.iter().enumerate().skip(skip);
            places.map(move |(place, element)| ((index * PAGE_PLACES + place) as u32, element))
        });
        places.filter_map(|(at, element)| element.as_ref().map(|element| (at, element)))
    }

    fn trim(&mut self) {
        while let Some(page) = self.pages.last_mut() {
            if page.last().is_some_and(Option::is_some) {
                return;
            }
            let page = Arc::make_mut(page);
            while let Some(None) = page.last() {
                page.pop();
            }
            if page.is_empty() {
                self.pages.pop();
            }
        }
    }
}

fn split(at: u32) -> (usize, usize) {
    (at as usize / PAGE_PLACES, at as usize % PAGE_PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: u32) -> Slab<u32> {
        let mut slab = Slab::default();
        (0..count).for_each(|n| slab.push(n));
        slab
    }

    fn elements(slab: &Slab<u32>) -> Vec<(u32, u32)> {
        slab.iter().map(|(at, &element)| (at, element)).collect()
    }

    #[test]
    fn clones_do_not_see_each_others_changes() {
        let before = filled(1000);
        let mut slab = before.clone();
        *slab.get_mut(500).expect("in use") = 7;
        assert_eq!(slab.take(501), Some(501));
        slab.push(1000);
        assert_eq!(elements(&before), (0..1000).map(|n| (n, n)).collect::<Vec<_>>());
        assert_eq!((slab.get(500), slab.get(501), slab.len()), (Some(&7), None, 1001));
        let shared = slab.pages.iter().zip(&before.pages).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(shared.count(), 1000_usize.div_ceil(PAGE_PLACES) - 2, "only two pages were copied");
    }

    #[test]
    fn free_places_at_the_end_go_and_others_are_filled() {
        let mut slab = filled(300);
        for at in (100..300).rev() {
            assert_eq!(slab.take(at), Some(at));
            assert_eq!(slab.len(), at);
        }
        assert_eq!(slab.take(50), Some(50));
        assert_eq!((slab.len(), slab.get(50)), (100, None));
        slab.fill(50, 9);
        assert_eq!(slab.iter_from(49).take(3).collect::<Vec<_>>(), [(49, &49), (50, &9), (51, &51)]);
        for at in 0..100 {
            slab.take(at);
        }
        assert_eq!((slab.len(), slab.pages.len()), (0, 0));
    }

    #[test]
    fn walking_begins_anywhere() {
        let slab = filled(300);
        for from in [0, 1, 127, 128, 129, 255, 256, 299, 300, 10_000] {
            assert!(slab.iter_from(from).map(|(at, _)| at).eq(from as u32..300));
        }
    }
}
