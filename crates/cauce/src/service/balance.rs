//! Which instance is to have which partition: every instance computes the same from what the broker says.

/// Shares partitions out among so many members, evenly (numbers differ by one at most), and so that as few as possible change hands. `owners` says who
/// has each now. The members' order must be the same everywhere.
pub(crate) fn assign(members: usize, owners: &[Option<usize>]) -> Vec<Option<usize>> {
    let mut rooms = quotas(members, owners);
    let mut take = |member: usize| {
        let room = rooms.get_mut(member).filter(|room| **room > 0);
        room.map(|room| {
            *room -= 1;
            member
        })
    };
    let kept: Vec<Option<usize>> = owners.iter().map(|owner| owner.and_then(&mut take)).collect();
    kept.into_iter().map(|kept| kept.or_else(|| (0..members).find_map(&mut take))).collect()
}

/// How many each gets. Where they can't all get the same, those that have the most get one more.
fn quotas(members: usize, owners: &[Option<usize>]) -> Vec<usize> {
    if members == 0 {
        return Vec::new();
    }
    let (each, rest) = (owners.len() / members, owners.len() % members);
    let has = |member: usize| owners.iter().filter(|owner| **owner == Some(member)).count();
    let mut by_number: Vec<usize> = (0..members).collect();
    by_number.sort_by_key(|member| std::cmp::Reverse(has(*member)));
    let more = by_number.get(..rest).unwrap_or_default();
    (0..members).map(|member| each + usize::from(more.contains(&member))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(members: usize, owners: &[Option<usize>], expected: &[Option<usize>]) {
        assert_eq!(assign(members, owners), expected, "{members} members, {owners:?}");
    }

    #[test]
    fn everybody_keeps_a_fair_share() {
        check(0, &[None, None], &[None, None]);
        check(1, &[None, Some(0), None], &[Some(0); 3]);
        // A second joins one that has everything.
        check(2, &[Some(0); 4], &[Some(0), Some(0), Some(1), Some(1)]);
        check(2, &[Some(0); 3], &[Some(0), Some(0), Some(1)]);
        // A third joins two.
        check(3, &[Some(0), Some(0), Some(1), Some(1)], &[Some(0), Some(0), Some(1), Some(2)]);
        // The one in the middle went, and those after it moved up.
        check(2, &[Some(0), None, Some(1), None], &[Some(0), Some(0), Some(1), Some(1)]);
        // More members than partitions.
        check(3, &[Some(2)], &[Some(2)]);
        check(3, &[None], &[Some(0)]);
    }

    /// From any state, what all compute is even; and once everybody has what was computed, nothing moves.
    #[test]
    fn it_is_even_and_settles() {
        for seed in 0..2_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (members, partitions) = (random.usize(1..9), random.usize(1..40));
            let owners: Vec<Option<usize>> =
                (0..partitions).map(|_| random.bool().then(|| random.usize(0..members))).collect();
            let target = assign(members, &owners);
            let counts: Vec<usize> = (0..members)
                .map(|member| target.iter().filter(|owner| **owner == Some(member)).count())
                .collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1 && counts.iter().sum::<usize>() == partitions, "{counts:?}");
            assert_eq!(assign(members, &target), target);
        }
    }
}
