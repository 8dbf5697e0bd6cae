//! What a journal records.

use handover_model::{Digest, RunId, Timestamp, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::run::{Intent, Party, Plan, StepId};

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When it was written, on the wall clock.
    pub at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// What a record says. A program that meets a record it doesn't know refuses the run, unless the
/// record carries `"note": true`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Body {
    /// The first record: the run, whose chain this is, and the compiled plan.
    Begin {
        /// The run.
        run: RunId,
        /// Whose chain this is.
        party: Party,
        /// The plan.
        plan: Box<Plan>,
    },
    /// A life began. A barrier: durable before anything is done in that life.
    Opened {
        /// The engine's version.
        engine: Version,
    },
    /// A step is about to be applied. A barrier: durable before it is.
    Intent {
        /// The step.
        step: StepId,
        /// What it is about to do.
        intent: Intent,
    },
    /// A step was so already, before this run touched it: never reverted.
    Satisfied {
        /// The step.
        step: StepId,
        /// Its outputs.
        outputs: Value,
    },
    /// A step was seen to be done.
    Done {
        /// The step.
        step: StepId,
        /// Its outputs.
        outputs: Value,
    },
    /// An attempt failed, forward or backward.
    Failed {
        /// The step.
        step: StepId,
        /// Why, for people.
        why: String,
        /// Whether it won't be tried again unless a person asks for it.
        last: bool,
    },
    /// An act ended without anybody knowing whether it took effect.
    Unsure {
        /// The step.
        step: StepId,
        /// What is known, for people.
        why: String,
    },
    /// A person answered what a step asks. A barrier.
    Said {
        /// The step.
        step: StepId,
        /// Who.
        by: String,
        /// What they said.
        text: String,
    },
    /// A person asked for a failed step to be tried again. A barrier.
    Retried {
        /// The step.
        step: StepId,
    },
    /// Another party's step was learnt of. A barrier.
    Imported {
        /// The step.
        step: StepId,
        /// Whose it is.
        party: Party,
        /// The head of their chain.
        head: Digest,
        /// Its outputs when it is done; absent when their chain has turned and the step has no
        /// effect (any more).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outputs: Option<Value>,
    },
    /// From here on everything is taken back. A barrier.
    Turned {
        /// Why, for people.
        why: String,
        /// Whose turn it was, when it was learnt from another party's chain, and its head.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<(Party, Digest)>,
    },
    /// A step is about to be reverted. A barrier.
    Reverting {
        /// The step.
        step: StepId,
    },
    /// A step was seen to be as it was before.
    Reverted {
        /// The step.
        step: StepId,
    },
    /// A note that this program doesn't know; it changes nothing.
    #[serde(skip)]
    Foreign,
}

impl Body {
    /// The record's name, as it stands under `is`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "begin",
            Self::Opened { .. } => "opened",
            Self::Intent { .. } => "intent",
            Self::Satisfied { .. } => "satisfied",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Unsure { .. } => "unsure",
            Self::Said { .. } => "said",
            Self::Retried { .. } => "retried",
            Self::Imported { .. } => "imported",
            Self::Turned { .. } => "turned",
            Self::Reverting { .. } => "reverting",
            Self::Reverted { .. } => "reverted",
            Self::Foreign => "foreign",
        }
    }
}
