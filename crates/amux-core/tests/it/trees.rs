//! The algebra of layout trees: by example, and by property over random trees.

use std::collections::BTreeSet;

use amux_core::tree::{self, WHOLE};
use amux_proto::layout::{Child, Direction, Node, Place, Side};
use amux_proto::{NodeId, PaneId, TabId};
use amux_testkit::commands::Rng;
use proptest::prelude::*;
use uuid::Uuid;

fn p(number: u128) -> PaneId {
    PaneId(Uuid::from_u128(number))
}

fn n(number: u128) -> NodeId {
    NodeId(Uuid::from_u128(number))
}

const TAB: TabId = TabId(Uuid::nil());

fn beside(anchor: u128, side: Side) -> Place {
    Place::Beside { pane: p(anchor), side }
}

/// `1` a pane, `[1 2]` side by side, `{1 2}` above each other, `(1 2*)` a stack with 2 in front; sizes when asked.
fn drawn(node: &Node, sizes: bool) -> String {
    let number = |pane: &PaneId| pane.0.as_u128().to_string();
    match node {
        Node::Leaf { panes, .. } if panes.len() == 1 => number(&panes[0]),
        Node::Leaf { panes, active } => {
            let panes: Vec<_> =
                panes.iter().map(|pane| format!("{}{}", number(pane), if pane == active { "*" } else { "" })).collect();
            format!("({})", panes.join(" "))
        }
        Node::Split { direction, children, .. } => {
            let inner: Vec<_> = children
                .iter()
                .map(|child| {
                    let size = if sizes { format!("{}:", child.size) } else { String::new() };
                    format!("{size}{}", drawn(&child.node, sizes))
                })
                .collect();
            match direction {
                Direction::Row => format!("[{}]", inner.join(" ")),
                Direction::Column => format!("{{{}}}", inner.join(" ")),
            }
        }
    }
}

/// Panes 1, 2, 3 … put in at these places one after the other.
fn grown(places: &[Place]) -> Node {
    let start = tree::insert(None, p(1), &Place::Tab { tab: TAB }, n(0));
    places.iter().zip(2..).fold(start, |root, (place, number)| tree::insert(Some(root), p(number), place, n(number)))
}

#[test]
fn a_pane_goes_where_it_is_put() {
    let stack = |anchor: u128, index| Place::Stack { pane: p(anchor), index };
    let edge = |side| Place::Edge { tab: TAB, side };
    let cases: &[(&[Place], &str)] = &[
        (&[], "1"),
        (&[beside(1, Side::Right)], "[5000:1 5000:2]"),
        (&[beside(1, Side::Left)], "[5000:2 5000:1]"),
        (&[beside(1, Side::Down)], "{5000:1 5000:2}"),
        (&[beside(1, Side::Up)], "{5000:2 5000:1}"),
        // In the direction of the split around it no new split is made: half of the leaf's own room.
        (&[beside(1, Side::Right), beside(2, Side::Right)], "[5000:1 2500:2 2500:3]"),
        (&[beside(1, Side::Right), beside(2, Side::Left)], "[5000:1 2500:3 2500:2]"),
        (&[beside(1, Side::Right), beside(2, Side::Down)], "[5000:1 5000:{5000:2 5000:3}]"),
        (
            &[beside(1, Side::Right), beside(2, Side::Down), beside(3, Side::Down)],
            "[5000:1 5000:{5000:2 2500:3 2500:4}]",
        ),
        (&[beside(1, Side::Right), edge(Side::Right)], "[3334:1 3333:2 3333:3]"),
        (&[beside(1, Side::Right), edge(Side::Left)], "[3333:3 3334:1 3333:2]"),
        (&[beside(1, Side::Right), edge(Side::Down)], "{5000:[5000:1 5000:2] 5000:3}"),
        (&[Place::Tab { tab: TAB }], "[5000:1 5000:2]"),
        (&[stack(1, None)], "(1 2*)"),
        (&[stack(1, Some(0))], "(2* 1)"),
        (&[stack(1, Some(9)), stack(2, Some(1))], "(1 3* 2)"),
        // An anchor that is not there: the right edge.
        (&[beside(77, Side::Up)], "[5000:1 5000:2]"),
    ];
    for (places, expected) in cases {
        assert_eq!(drawn(&grown(places), true), *expected, "{places:?}");
    }
}

#[test]
fn a_pane_that_leaves_gives_its_room_back() {
    let grid = &[beside(1, Side::Right), beside(2, Side::Down), beside(1, Side::Down)][..];
    assert_eq!(drawn(&grown(grid), false), "[{1 4} {2 3}]");
    let cases: &[(&[Place], u128, &str)] = &[
        (&[beside(1, Side::Right)], 1, "2"),
        (&[beside(1, Side::Right), beside(2, Side::Right)], 3, "[5000:1 5000:2]"),
        (&[beside(1, Side::Right), beside(2, Side::Right)], 2, "[7500:1 2500:3]"),
        (&[beside(1, Side::Right), beside(2, Side::Right)], 1, "[7500:2 2500:3]"),
        (grid, 4, "[5000:1 5000:{5000:2 5000:3}]"),
        // A split with one child is that child, and joins a split of its own direction.
        (&[beside(1, Side::Down), beside(2, Side::Right), beside(3, Side::Down)], 2, "{5000:1 2500:3 2500:4}"),
    ];
    for (places, leaving, expected) in cases {
        let root = tree::remove(grown(places), p(*leaving)).expect("others stay");
        assert_eq!(drawn(&root, true), *expected, "{places:?} without {leaving}");
    }
    assert_eq!(tree::remove(grown(&[]), p(1)), None);
}

#[test]
fn the_next_in_a_stack_is_the_right_neighbour_else_the_left() {
    let stack: Vec<_> = (1..=2).map(|anchor| Place::Stack { pane: p(anchor), index: None }).collect();
    let root = grown(&stack);
    let in_front = |pane: u128| tree::activate(root.clone(), p(pane));
    let without = |root: Node, pane: u128| drawn(&tree::remove(root, p(pane)).unwrap(), false);
    assert_eq!(without(in_front(1), 1), "(2* 3)");
    assert_eq!(without(in_front(2), 2), "(1 3*)");
    assert_eq!(without(in_front(3), 3), "(1 2*)");
    assert_eq!(without(in_front(3), 1), "(2 3*)");
}

#[test]
fn sizes_are_shared_and_nobody_gets_nothing() {
    let root = grown(&[beside(1, Side::Right), beside(2, Side::Right)]);
    let resize = |sizes: &[u32]| tree::resize(&root, n(2), sizes).map(|root| drawn(&root, true));
    assert_eq!(resize(&[1, 1, 2]).as_deref(), Some("[2500:1 2500:2 5000:3]"));
    assert_eq!(resize(&[1, 1, 1]).as_deref(), Some("[3334:1 3333:2 3333:3]"));
    assert_eq!(resize(&[u32::MAX, 1, u32::MAX]).as_deref(), Some("[5000:1 1:2 4999:3]"));
    assert_eq!(resize(&[1, 0, 1]), None);
    assert_eq!(resize(&[1, 1]), None);
    assert_eq!(tree::resize(&root, n(99), &[1, 1, 1]), None);
    assert_eq!(tree::resize(&grown(&[]), n(2), &[1]), None);
}

#[test]
fn even_the_smallest_room_can_be_split() {
    let mut root = grown(&[]);
    for number in 2..=64 {
        root = tree::insert(Some(root), p(number), &beside(number - 1, Side::Right), n(number));
        assert_eq!(tree::check(&root), Vec::<String>::new());
    }
}

#[test]
fn a_closed_pane_comes_back_where_it_was_or_as_near_as_possible() {
    let before = grown(&[beside(1, Side::Right), beside(2, Side::Down), beside(3, Side::Down)]);
    assert_eq!(drawn(&before, false), "[1 {2 3 4}]");
    let back = |root: Option<Node>, pane| drawn(&tree::reinstate(root, &before, p(pane), n(50)), true);
    // The rest stands: exactly as before, sizes and all.
    for pane in 1..=4 {
        assert_eq!(back(tree::remove(before.clone(), p(pane)), pane), drawn(&before, true));
    }
    // More has gone meanwhile: beside the nearest that is left.
    let without = |panes: &[u128]| panes.iter().try_fold(before.clone(), |root, pane| tree::remove(root, p(*pane)));
    assert_eq!(back(without(&[3, 4]), 3), "[5000:1 5000:{5000:2 5000:3}]");
    assert_eq!(back(without(&[3, 2]), 3), "[5000:1 5000:{5000:3 5000:4}]");
    assert_eq!(back(without(&[2, 3, 4]), 3), "[5000:1 5000:3]");
    assert_eq!(back(None, 3), "3");
    // Nothing it knew is left: at the right edge.
    assert_eq!(back(Some(tree::insert(None, p(9), &Place::Tab { tab: TAB }, n(9))), 3), "[5000:9 5000:3]");
}

#[test]
fn what_is_wrong_with_a_tree_is_found() {
    let leaf = |pane| Node::Leaf { panes: vec![p(pane)], active: p(pane) };
    let split = |id, direction, children: Vec<(u32, Node)>| Node::Split {
        id: n(id),
        direction,
        children: children.into_iter().map(|(size, node)| Child { size, node }).collect(),
    };
    let row = Direction::Row;
    let bad = [
        Node::Leaf { panes: vec![], active: p(1) },
        Node::Leaf { panes: vec![p(1)], active: p(2) },
        split(1, row, vec![(10_000, leaf(1))]),
        split(1, row, vec![(5000, leaf(1)), (4999, leaf(2))]),
        split(1, row, vec![(10_000, leaf(1)), (0, leaf(2))]),
        split(1, row, vec![(5000, leaf(1)), (5000, leaf(1))]),
        split(1, row, vec![(5000, leaf(1)), (5000, split(2, row, vec![(5000, leaf(2)), (5000, leaf(3))]))]),
        split(
            1,
            row,
            vec![(5000, leaf(1)), (5000, split(1, Direction::Column, vec![(5000, leaf(2)), (5000, leaf(3))]))],
        ),
    ];
    for tree in bad {
        assert_ne!(tree::check(&tree), Vec::<String>::new(), "{tree:?}");
    }
}

/// A tree after random insertions, removals and resizes, with the panes that must be in it.
fn random(rng: &mut Rng) -> (Node, BTreeSet<PaneId>) {
    let mut root = Some(grown(&[]));
    let mut inside = BTreeSet::from([p(1)]);
    for number in 2..40 {
        let anchor = rng.pick(inside.iter().copied().collect::<Vec<_>>()).unwrap_or(p(1));
        let side = rng.pick([Side::Left, Side::Right, Side::Up, Side::Down]).unwrap_or(Side::Up);
        let place = match rng.below(8) {
            0..=3 => Place::Beside { pane: anchor, side },
            4 | 5 => Place::Stack { pane: anchor, index: Some(0) },
            _ => Place::Edge { tab: TAB, side },
        };
        match rng.below(3) {
            0 if inside.len() > 1 => {
                root = root.and_then(|root| tree::remove(root, anchor));
                inside.remove(&anchor);
            }
            _ => {
                root = Some(tree::insert(root, p(number), &place, n(number)));
                inside.insert(p(number));
            }
        }
    }
    (root.expect("one pane at least stays"), inside)
}

fn within(node: &Node) -> Vec<(NodeId, Vec<u32>)> {
    match node {
        Node::Leaf { .. } => Vec::new(),
        Node::Split { id, children, .. } => {
            let sizes = children.iter().map(|child| child.size).collect();
            std::iter::once((*id, sizes)).chain(children.iter().flat_map(|child| within(&child.node))).collect()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn trees_stay_normal_and_hold_exactly_their_panes(seed in any::<u64>()) {
        let mut rng = Rng::new(seed);
        let (root, inside) = random(&mut rng);
        prop_assert_eq!(tree::check(&root), Vec::<String>::new());
        prop_assert_eq!(root.panes().into_iter().collect::<BTreeSet<_>>(), inside.clone());
        prop_assert_eq!(tree::visible(&root).iter().filter(|pane| inside.contains(pane)).count(), tree::visible(&root).len());
        for (split, sizes) in within(&root) {
            let wanted: Vec<u32> = sizes.iter().map(|_| 1 + rng.below(500) as u32).collect();
            let resized = tree::resize(&root, split, &wanted);
            prop_assert_eq!(resized.as_ref().map(tree::check), Some(Vec::new()));
            // Sizes that are right already stay as they are.
            prop_assert_eq!(tree::resize(&root, split, &sizes), Some(root.clone()));
        }
    }

    #[test]
    fn splitting_takes_half_of_one_leaf_and_nothing_from_the_others(seed in any::<u64>()) {
        let (root, _) = random(&mut Rng::new(seed));
        for anchor in tree::visible(&root) {
            for side in [Side::Left, Side::Right, Side::Up, Side::Down] {
                let (before, after) = (within(&root), within(&tree::insert(Some(root.clone()), p(99), &Place::Beside { pane: anchor, side }, n(99))));
                for (split, sizes) in &after {
                    prop_assert_eq!(sizes.iter().sum::<u32>(), WHOLE);
                    let Some((_, old)) = before.iter().find(|(id, _)| id == split) else { continue };
                    let kept = sizes.iter().filter(|size| old.contains(size)).count();
                    prop_assert!(sizes == old || kept >= old.len() - 1, "{old:?} became {sizes:?}");
                }
            }
        }
    }

    #[test]
    fn closing_what_was_split_off_gives_back_what_was_there(seed in any::<u64>()) {
        let (root, inside) = random(&mut Rng::new(seed));
        for anchor in inside {
            for side in [Side::Right, Side::Down] {
                let place = Place::Beside { pane: anchor, side };
                let split = tree::insert(Some(root.clone()), p(99), &place, n(99));
                // Room for one part only cannot be halved; a neighbour then gives.
                if within(&root).iter().all(|(_, sizes)| !sizes.contains(&1)) {
                    prop_assert_eq!(tree::remove(split, p(99)), Some(root.clone()));
                }
            }
        }
    }

    #[test]
    fn a_pane_comes_back_exactly_while_the_rest_stands(seed in any::<u64>()) {
        let (root, inside) = random(&mut Rng::new(seed));
        for pane in inside {
            let rest = tree::remove(root.clone(), pane);
            let back = tree::reinstate(rest, &root, pane, n(99));
            prop_assert!(tree::same_shape(&back, &root));
            prop_assert_eq!(within(&back), within(&root));
            prop_assert!(tree::visible(&back).contains(&pane));
        }
    }

    #[test]
    fn the_focus_is_always_on_something_that_can_be_seen(seed in any::<u64>()) {
        let (root, inside) = random(&mut Rng::new(seed));
        for focus in tree::visible(&root) {
            for leaving in &inside {
                let rest = tree::remove(root.clone(), *leaving);
                let now = tree::refocus(Some(&root), rest.as_ref(), Some(focus));
                prop_assert_eq!(now.is_some(), rest.is_some());
                if let (Some(now), Some(rest)) = (now, rest) {
                    prop_assert!(tree::visible(&rest).contains(&now));
                    prop_assert!(now == focus || *leaving == focus);
                }
            }
        }
    }
}
