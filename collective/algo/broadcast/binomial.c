/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broadcast along a binomial tree, in chunks that are handed on as they come. Cost, C chunks of n bytes, W ranks:
 * (C + log2 W) (alpha + log2 W n beta). Each rank, counted from the root, has as parent itself without its lowest bit.
 */
#include "collective/algo/message.h"

#define CHUNK_BYTES (256 * 1024)
#define AHEAD 8

static int relative(const struct lsi_message *m, const struct ls_request *request)
{
    int world = m->group->world;

    return (m->group->rank - request->op.root + world) % world;
}

static int absolute(const struct lsi_message *m, const struct ls_request *request, int relative_rank)
{
    return (relative_rank + request->op.root) % m->group->world;
}

static int64_t chunk_bytes(const struct ls_request *request, int64_t c)
{
    int64_t left = request->op.count * (int64_t)request->element_bytes - c * CHUNK_BYTES;

    return left < CHUNK_BYTES ? left : CHUNK_BYTES;
}

static uint8_t *chunk_at(const struct ls_request *request, int64_t c)
{
    return (uint8_t *)request->op.dst + c * CHUNK_BYTES;
}

/* Hands chunk c to the children: own relative rank plus each bit below its lowest one. */
static enum ls_status hand_on(struct lsi_message *m, struct ls_request *request, int64_t c, struct ls_error *err)
{
    int own = relative(m, request);
    int world = m->group->world;
    enum ls_status status = LS_OK;

    for (int bit = 1; bit < world && (own & bit) == 0 && status == LS_OK; bit <<= 1)
        if (own + bit < world)
            status =
                lsi_post_send(m, absolute(m, request, own + bit), chunk_at(request, c), chunk_bytes(request, c), err);
    return status;
}

static enum ls_status begin(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int64_t bytes = request->op.count * (int64_t)request->element_bytes;

    (void)err;
    m->segments = (bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
    m->posted = 0;
    m->done = 0;
    return LS_OK;
}

static enum ls_status advance(struct lsi_message *m, struct ls_request *request, struct ls_error *err)
{
    int own = relative(m, request);
    int parent = own == 0 ? m->group->rank : absolute(m, request, own & (own - 1));
    struct lsi_link *link = &m->link[parent];
    enum ls_status status = LS_OK;

    while (status == LS_OK && m->done < m->segments) {
        while (own != 0 && status == LS_OK && m->posted < m->segments && m->posted < m->done + AHEAD) {
            status = lsi_post_receive(m, parent, chunk_at(request, m->posted), chunk_bytes(request, m->posted), err);
            m->posted++;
        }
        if (status != LS_OK)
            return status;
        if (own != 0 && (int64_t)(link->receives_posted - link->receives_done) >= m->posted - m->done) {
            m->group->waits_for = parent;
            m->group->waits_why = "has not handed it on";
            return LS_EAGAIN;
        }
        status = hand_on(m, request, m->done++, err);
    }
    return status;
}

const struct lsi_algorithm lsi_broadcast_binomial = {.name = "binomial", .begin = begin, .advance = advance};
