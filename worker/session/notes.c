/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports that wait to be said, oldest first. Steps of one epoch become one report that stands for all of them, but
 * never across a validation, the end of an epoch or the step at which the loss stopped being finite: whoever reads the
 * reports sees each of those, and in their order.
 */
#include "worker/session/session_internal.h"

#include <math.h>
#include <string.h>

static bool may_join(const struct ls_step_report *older, const struct ls_step_report *newer)
{
    return !older->validation && !newer->validation && older->epoch == newer->epoch &&
           isfinite(older->loss) == isfinite(newer->loss);
}

static void remove_at(struct lsi_notes *notes, int at)
{
    notes->count--;
    memmove(notes->items + at, notes->items + at + 1, (size_t)(notes->count - at) * sizeof *notes->items);
}

/* Nobody has read for long: a step gives way to the next one, which then stands for both; where all that waits are
 * validations, the oldest. */
static void make_room(struct lsi_notes *notes)
{
    int older = -1;

    for (int i = 0; i < notes->count; i++) {
        struct lsi_note *note = &notes->items[i];

        if (note->report.validation)
            continue;
        if (older >= 0 && isfinite(notes->items[older].report.loss) == isfinite(note->report.loss)) {
            note->first_step = notes->items[older].first_step;
            remove_at(notes, older);
            return;
        }
        older = i;
    }
    remove_at(notes, 0);
}

void lsi_notes_add(struct lsi_notes *notes, const struct ls_step_report *report)
{
    struct lsi_note *last = notes->count > 0 ? &notes->items[notes->count - 1] : NULL;

    if (last != NULL && may_join(&last->report, report)) {
        last->report = *report;
        return;
    }
    if (notes->count == LSI_NOTES)
        make_room(notes);
    notes->items[notes->count++] = (struct lsi_note){.report = *report, .first_step = report->step};
}

bool lsi_notes_take(struct lsi_notes *notes, struct lsi_note *note)
{
    if (notes->count == 0)
        return false;
    *note = notes->items[0];
    remove_at(notes, 0);
    return true;
}

bool lsi_notes_crowded(const struct lsi_notes *notes)
{
    return notes->count >= LSI_NOTES / 2;
}
