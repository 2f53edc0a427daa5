/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All-to-all in one step: everybody sends each other what is its, straight from and into the caller's memory.
 * Cost: alpha + the elements given and taken, beta each.
 */
#include "collective/algo/message.h"

#include <string.h>

static enum ls_status begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    const uint8_t *src = request->op.src;
    uint8_t *dst = request->op.dst;
    int64_t size = (int64_t)request->element_bytes;
    int rank = m->group->rank;
    enum ls_status status = LS_OK;

    for (int r = 0; r < m->group->world && status == LS_OK; r++) {
        struct lsi_pair gives = lsi_pair_of(request, rank, r);
        struct lsi_pair takes = lsi_pair_of(request, r, rank);
        if (r == rank) {
            if (gives.length > 0)
                memcpy(dst + gives.dst * size, src + gives.src * size, (size_t)(gives.length * size));
            continue;
        }
        status = lsi_post_receive(m, r, dst + takes.dst * size, takes.length * size, err);
        if (status == LS_OK)
            status = lsi_post_send(m, r, src + gives.src * size, gives.length * size, err);
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

const struct lsi_algorithm lsi_all_to_all_direct = {.name = "direct", .begin = begin, .advance = advance};
