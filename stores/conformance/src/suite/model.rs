//! Random stories, compared with the model's.

use crate::subject::Subject;

/// Whatever is asked in whatever order, the answers are the model's. `PROPTEST_CASES` says how many
/// stories are played.
pub fn random_stories_end_as_in_the_model(subject: &Subject) {
    crate::differential::random_stories(subject);
}
