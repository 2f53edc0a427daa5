/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that only copy, in segments through the windows of each host: the values of a segment come into windows
 * (of own ones, or from another host), the members of the host meet, and everybody copies what it needs while the next
 * segment is under way into the other windows.
 */
#include "collective/provider/hybrid/hybrid.h"

enum { RELAY_POST, RELAY_READY, RELAY_MEET, RELAY_TAKE };

void lsi_hybrid_relay_begin(struct lsi_message *m, int64_t piece, int64_t longest)
{
    struct hybrid_running *run = &hybrid_of(m)->run;

    run->piece = piece;
    run->segments = (longest + piece - 1) / piece;
    run->done = 0;
    run->step = RELAY_POST;
}

enum ls_status lsi_hybrid_relay(struct lsi_message *m, struct ls_request *request, const struct hybrid_relay *relay,
                                struct ls_error *err)
{
    static const struct ls_collective barrier = {.kind = LS_BARRIER};
    struct hybrid *h = hybrid_of(m);
    struct hybrid_running *run = &h->run;
    enum ls_status status = LS_OK;

    while (status == LS_OK && run->done < run->segments) {
        switch (run->step) {
        case RELAY_POST: /* segment 0 only */
            status = relay->post(m, request, 0, err);
            lsi_hybrid_flush(m);
            run->step = RELAY_READY;
            break;
        case RELAY_READY:
            status = relay->ready(m, request, run->done, err);
            lsi_hybrid_flush(m);
            if (status == LS_OK)
                status = lsi_hybrid_inner_start(h, &barrier, err);
            run->step = status == LS_OK ? RELAY_MEET : RELAY_READY;
            break;
        case RELAY_MEET:
            status = lsi_hybrid_inner_test(m, err);
            run->step = status == LS_OK ? RELAY_TAKE : RELAY_MEET;
            break;
        default:
            /* All have met for this segment, so nobody reads the windows of the one before any more. */
            if (run->done + 1 < run->segments)
                status = relay->post(m, request, run->done + 1, err);
            lsi_hybrid_flush(m);
            if (status != LS_OK)
                break;
            relay->take(m, request, run->done++);
            m->group->ticks++;
            run->step = RELAY_READY;
            break;
        }
    }
    return status;
}
