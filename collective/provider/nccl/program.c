/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs an operation as rounds: the oldest is waited for, the next is staged as soon as what it needs is over, so that
 * copies and sums on the host overlap NCCL. Where NCCL reports an error, a dying peer is given a moment to be heard of
 * over the mesh: its name explains more.
 */
#include "collective/provider/nccl/nccl_internal.h"

#include "core/base/clock.h"

#define GRACE_NS UINT64_C(300000000)

bool lsi_nccl_supports(int kind, enum lsi_way way)
{
    if (kind == LS_ALL_REDUCE || kind == LS_REDUCE_SCATTER)
        return way == LSI_CANONICAL || (way == LSI_NATIVE && kind == LS_ALL_REDUCE);
    return way == LSI_DIRECT;
}

int64_t lsi_nccl_piece(const struct ls_request *request, int64_t parts, int64_t longest)
{
    /* Each part may be rounded up to a grain. */
    int64_t bytes = ((int64_t)NCCL_STAGE_BYTES / parts) & ~(int64_t)(NCCL_GRAIN - 1);
    int64_t most = (int64_t)NCCL_STAGE_BYTES / 4, piece;

    piece = (bytes < most ? bytes : most) / (int64_t)request->element_bytes;
    return piece < longest || longest == 0 ? piece : longest;
}

void lsi_nccl_stage_gather(struct nccl *nccl, struct nccl_slot *slot, const int64_t *bytes)
{
    int world = nccl->group->world, rank = nccl->group->rank;
    bool same = bytes[0] > 0;

    for (int r = 1; r < world; r++)
        same = same && bytes[r] == bytes[0];
    lsi_nccl_slot_clear(nccl, slot, same ? ROUND_GATHER : ROUND_EXCHANGE);
    slot->out_bytes = (size_t)bytes[rank];
    slot->count = (size_t)bytes[0];
    for (int r = 0; r < world; r++) {
        if (same) {
            slot->receive[r] = (struct nccl_part){(size_t)r * slot->count, slot->count};
            slot->in_bytes += slot->count;
        } else if (r != rank) {
            slot->send[r] = (struct nccl_part){0, (size_t)bytes[rank]};
            (void)lsi_nccl_slot_receive(slot, r, (size_t)bytes[r]);
        }
    }
}

const uint8_t *lsi_nccl_gathered(const struct nccl_slot *slot, int rank)
{
    return slot->host_in + slot->receive[rank].at;
}

static enum ls_status begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    struct nccl *nccl = m->links;

    (void)err;
    nccl->launched = 0;
    nccl->done = 0;
    nccl->failed_ns = 0;
    if (request->op.kind <= LS_REDUCE_SCATTER)
        lsi_nccl_plan_reduce(nccl, request);
    else
        lsi_nccl_plan_copy(nccl, request);
    return LS_OK;
}

enum ls_status lsi_nccl_hold_back(struct nccl *nccl, enum ls_status status, const struct ls_error *why,
                                  struct ls_error *err)
{
    uint64_t now = ls_clock_now_ns();

    if (nccl->failed_ns == 0) {
        nccl->failed_ns = now;
        nccl->failure = *why;
    }
    if (now - nccl->failed_ns < GRACE_NS)
        return LS_EAGAIN;
    nccl->group->waits_for = nccl->group->rank;
    return ls_error_set(err, status, "%s", nccl->failure.message);
}

/* In a round nobody knows who is late: most likely one that has not told that it waits itself. */
static void guess_culprit(struct lsi_message *m)
{
    struct ls_group *group = m->group;
    int guess = -1;

    for (int r = 0; r < group->world; r++)
        if (r != group->rank &&
            (guess < 0 || (m->ops->heard_wait(m->links, guess) >= 0 && m->ops->heard_wait(m->links, r) < 0)))
            guess = r;
    group->waits_for = guess < 0 ? group->rank : guess;
    group->waits_why = "has not done its part of a round";
}

static enum ls_status step(struct nccl *nccl, struct lsi_message *m, struct ls_request *request, bool *moved,
                           struct ls_error *err)
{
    const struct nccl_program *program = nccl->program;
    enum ls_status status = LS_OK;

    if (nccl->launched > nccl->done) {
        status = lsi_nccl_settle(nccl, &nccl->slots[program->slot(nccl, nccl->launched - 1)], err);
        if (status != LS_OK && status != LS_EAGAIN)
            return status;
    }
    bool queued = status == LS_OK;
    if (nccl->launched > nccl->done) {
        status = lsi_nccl_finish(nccl, &nccl->slots[program->slot(nccl, nccl->done)], err);
        if (status == LS_OK) {
            program->consume(nccl, m, request, nccl->done++);
            m->group->ticks++;
            *moved = true;
        } else if (status != LS_EAGAIN) {
            return status;
        }
    }
    if (queued && nccl->launched < nccl->rounds && program->gate(nccl, nccl->launched) < nccl->done) {
        program->stage(nccl, m, request, nccl->launched);
        status = lsi_nccl_launch(nccl, &nccl->slots[program->slot(nccl, nccl->launched)], err);
        nccl->launched++;
        *moved = true;
        return status;
    }
    return LS_OK;
}

static enum ls_status advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    struct nccl *nccl = m->links;
    struct ls_error why = LS_ERROR_INIT;

    while (nccl->done < nccl->rounds) {
        bool moved = false;
        enum ls_status status = nccl->failed_ns == 0 ? step(nccl, m, request, &moved, &why) : nccl->failure.status;
        if (status != LS_OK)
            return lsi_nccl_hold_back(nccl, status, &why, err);
        if (!moved) {
            guess_culprit(m);
            return LS_EAGAIN;
        }
    }
    return LS_OK;
}

const struct lsi_algorithm lsi_nccl_algorithm = {.name = "nccl", .begin = begin, .advance = advance};
