//! The results: what came of each row and contender, over the rounds.

use serde::{Deserialize, Serialize};

use crate::contender::{Kind, workers};
use crate::machine::machine;
use crate::measure::Measure;
use crate::plan::{Load, Plan, Scenario};

/// All of it, as it is kept.
#[derive(Serialize, Deserialize)]
pub(crate) struct Results {
    /// What it ran on.
    machine: String,
    versions: Vec<String>,
    workers: usize,
    rounds: u32,
    seconds: f64,
    missing: Vec<Kind>,
    measures: Vec<Measure>,
    rows: Vec<Scenario>,
}

/// The middle of some values, with the least and the largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) middle: f64,
    pub(crate) largest: f64,
}

impl Spread {
    /// Of these, if there are any.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (least, largest) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let middle =
            if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Some(Self { least, middle, largest })
    }
}

impl Results {
    pub(crate) fn new(
        plan: &Plan,
        missing: Vec<Kind>,
        measures: Vec<Measure>,
        versions: Vec<String>,
    ) -> Self {
        Self {
            machine: machine(),
            versions,
            workers: workers(),
            rounds: plan.rounds,
            seconds: plan.seconds,
            missing,
            measures,
            rows: plan.scenarios.clone(),
        }
    }

    /// Those who were measured beside each other; gogeta watched more or less closely is not among them.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let took_part = |kind: &Kind| self.measures.iter().any(|measure| measure.contender == *kind);
        Kind::ALL.into_iter().filter(|kind| !kind.is_watched()).filter(took_part).collect()
    }

    /// The rows of that sort.
    pub(crate) fn rows(&self, is_wanted: impl Fn(&Scenario) -> bool) -> Vec<&Scenario> {
        self.rows.iter().filter(|row| is_wanted(row)).collect()
    }

    /// The rows at a fixed rate.
    pub(crate) fn at_a_rate(&self) -> Vec<&Scenario> {
        self.rows(|row| matches!(row.load, Load::Share(_)))
    }

    /// This value of a contender in a row, over the rounds.
    pub(crate) fn of(
        &self,
        row: &str,
        kind: Kind,
        value: impl Fn(&Measure) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(self.each(row, kind).filter_map(value).collect())
    }

    /// A contender's rate against another's, each round by itself: what the machine did meanwhile, it did to both.
    pub(crate) fn ratio(&self, row: &str, kind: Kind, to: Kind) -> Option<Spread> {
        let ratios = self.each(row, kind).filter_map(|measure| {
            let other = self.each(row, to).find(|other| other.round == measure.round)?;
            Some(measure.rate / other.rate)
        });
        Spread::of(ratios.collect())
    }

    fn each<'a>(&'a self, row: &'a str, kind: Kind) -> impl Iterator<Item = &'a Measure> {
        self.measures.iter().filter(move |measure| measure.row == row && measure.contender == kind)
    }

    /// What went wrong, in words.
    pub(crate) fn failures(&self) -> Vec<String> {
        let failed = self.measures.iter().filter(|measure| measure.failed > 0);
        failed
            .map(|measure| {
                let Measure { row, contender, round, failed, count, .. } = measure;
                format!(
                    "{}, {row}, round {round}: {failed} failed or late, {count:.0} done",
                    contender.title()
                )
            })
            .collect()
    }

    /// What it ran on, and for how long.
    pub(crate) fn preamble(&self) -> String {
        let Self { machine, workers, rounds, seconds, .. } = self;
        let mut text = format!(
            "Measured on {machine}, with {}. {workers} workers each, {rounds} rounds of {seconds} s for every \
             number, contenders in turn within each.\n",
            self.versions.join(", ")
        );
        for kind in &self.missing {
            text += &format!("**{}** is missing: it is not installed.\n", kind.title());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_what_there_is() {
        assert_eq!(Spread::of(vec![]), None);
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).expect("there are some");
        assert_eq!((spread.least, spread.middle, spread.largest), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of(vec![1.0, 2.0]).map(|spread| spread.middle), Some(1.5));
    }
}
