/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All-gather in one step: everybody sends its part to everybody, straight from and into the caller's memory.
 * Cost: alpha + (W - 1) n beta a rank for parts of n bytes; the volume of a ring.
 */
#include "collective/algo/message.h"

#include <string.h>

static enum ls_status begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    const struct ls_collective *op = &request->op;
    int rank = m->group->rank;
    int64_t own = op->counts[rank] * (int64_t)request->element_bytes;
    uint8_t *dst = op->dst;
    enum ls_status status = LS_OK;

    for (int r = 0; r < m->group->world && status == LS_OK; r++) {
        int64_t bytes = op->counts[r] * (int64_t)request->element_bytes;
        if (r == rank) {
            if (bytes > 0)
                memcpy(dst, op->src, (size_t)bytes);
        } else {
            status = lsi_post_receive(m, r, dst, bytes, err);
            if (status == LS_OK)
                status = lsi_post_send(m, r, op->src, own, err);
        }
        dst += bytes;
    }
    return status;
}

static enum ls_status advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    (void)m;
    (void)request;
    (void)err;
    return LS_OK;
}

const struct lsi_algorithm lsi_all_gather_direct = {.name = "direct", .begin = begin, .advance = advance};
