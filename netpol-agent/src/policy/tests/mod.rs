//! The engine as a whole: what it proposes, judged by the evaluator.
