//! Merge of sample runs that overlap in time.

/// Merge runs `ends[i-1]..ends[i]` of the columns (each ascending and unique in time) into one that is ascending and
/// unique, from `start` on, in place. At equal times the earlier run wins.
pub fn merge_runs(ts: &mut Vec<i64>, values: &mut Vec<f64>, start: usize, ends: &[usize]) {
    if follow_one_another(ts, ends) {
        return;
    }
    let mut order: Vec<u32> = (0..(ts.len() - start) as u32).collect();
    // Stable: runs lie one after another, so equal times stay in the order of their runs. The sort finds the runs.
    order.sort_by_key(|i| ts[start + *i as usize]);
    let mut merged_ts = Vec::with_capacity(order.len());
    let mut merged_values = Vec::with_capacity(order.len());
    for i in order {
        let at = start + i as usize;
        if merged_ts.last() != Some(&ts[at]) {
            merged_ts.push(ts[at]);
            merged_values.push(values[at]);
        }
    }
    ts.truncate(start);
    values.truncate(start);
    ts.append(&mut merged_ts);
    values.append(&mut merged_values);
}

/// Whether the runs, which end at `ends`, follow one another without overlap.
pub fn follow_one_another(ts: &[i64], ends: &[usize]) -> bool {
    let Some((_, inner)) = ends.split_last() else {
        return true;
    };
    inner
        .iter()
        .all(|&e| e == 0 || e >= ts.len() || ts[e - 1] < ts[e])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_run_wins_and_the_prefix_stays() {
        let mut ts = vec![99, 1, 3, 5, 2, 3, 6, 0];
        let mut vs = vec![0.0, 1.0, 3.0, 5.0, 20.0, 30.0, 60.0, 7.0];
        merge_runs(&mut ts, &mut vs, 1, &[4, 7, 8]);
        assert_eq!(ts, [99, 0, 1, 2, 3, 5, 6]);
        assert_eq!(vs, [0.0, 7.0, 1.0, 20.0, 3.0, 5.0, 60.0]);
    }

    #[test]
    fn runs_in_order_are_left_alone() {
        let mut ts = vec![1, 2, 3, 4];
        let mut vs = vec![1.0, 2.0, 3.0, 4.0];
        merge_runs(&mut ts, &mut vs, 0, &[2, 2, 4]);
        assert_eq!(ts, [1, 2, 3, 4]);
    }
}
