/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NCCL as what carries between composed hosts (hybrid). Words are messages of the mesh of tcp, as ever. Values are
 * collected until `flush` closes a batch, and go in rounds of sends and receives: in each the next bytes of that batch
 * from and to every peer, the same share of a stage for each pair. Both ends of a message post it in batches that all
 * members pass in one order (hybrid.h), and both cut what one gives the other in a batch alike, so what is sent in a
 * round is taken in one that stands at the same place of the same order: no circle of waits. Who has nothing in a batch
 * has no round of it.
 */
#include "collective/provider/nccl/links.h"
#include "collective/provider/nccl/nccl_internal.h"
#include "collective/transport/tcp/links.h"

#include "core/base/alloc.h"

#include <sched.h>
#include <string.h>
#include <time.h>

#define YIELD_ROUNDS 20
#define LOOK_ROUNDS 16
#define FIRST_CAPACITY 16

struct message {
    uint8_t *data;
    size_t bytes;
    uint64_t batch;
};

/* Of one peer, one way: messages that are not done. */
struct queue {
    struct message *items; /* a ring */
    size_t capacity;
    size_t first;
    size_t count;
    size_t next;   /* from the first one: the message that the next round goes on with */
    size_t staged; /* its bytes that are in rounds */
    size_t landed; /* of the first one, in rounds that are over */
};

struct peer {
    struct queue out;
    struct queue in;
    struct lsi_link values; /* counts them alone */
};

struct nccl_carrier {
    struct peer *peers;
    const struct lsi_link *words; /* of the mesh */
    struct lsi_link *link;        /* words and values */
    uint64_t batch;               /* the open one */
    size_t share;                 /* of a stage, for each pair */
};

static void count(struct nccl_carrier *carrier, int r)
{
    const struct lsi_link *words = &carrier->words[r], *values = &carrier->peers[r].values;

    carrier->link[r] = (struct lsi_link){.sends_posted = words->sends_posted + values->sends_posted,
                                         .sends_done = words->sends_done + values->sends_done,
                                         .receives_posted = words->receives_posted + values->receives_posted,
                                         .receives_done = words->receives_done + values->receives_done};
}

static enum ls_status carrier_send(void *state, int peer, const void *data, size_t bytes, struct ls_error *err)
{
    struct nccl *nccl = state;
    enum ls_status status = lsi_over_send(state, peer, data, bytes, err);

    count(nccl->carrier, peer);
    return status;
}

static enum ls_status carrier_receive(void *state, int peer, void *data, size_t bytes, struct ls_error *err)
{
    struct nccl *nccl = state;
    enum ls_status status = lsi_over_receive(state, peer, data, bytes, err);

    count(nccl->carrier, peer);
    return status;
}

static struct message *item(const struct queue *queue, size_t i)
{
    return &queue->items[(queue->first + i) % queue->capacity];
}

static enum ls_status push(struct queue *queue, struct message message, struct ls_error *err)
{
    if (queue->count == queue->capacity) {
        size_t capacity = queue->capacity == 0 ? FIRST_CAPACITY : 2 * queue->capacity;
        struct message *items = ls_alloc_zeroed(capacity, sizeof *items);
        if (items == NULL)
            return ls_error_set(err, LS_ENOMEM, "no memory for another message");
        for (size_t i = 0; i < queue->count; i++)
            items[i] = *item(queue, i);
        ls_free(queue->items);
        queue->items = items;
        queue->capacity = capacity;
        queue->first = 0;
    }
    queue->count++;
    *item(queue, queue->count - 1) = message;
    return LS_OK;
}

static enum ls_status send_values(void *state, int peer, const void *data, size_t bytes, struct ls_error *err)
{
    struct nccl_carrier *carrier = ((struct nccl *)state)->carrier;

    carrier->peers[peer].values.sends_posted++;
    count(carrier, peer);
    return push(&carrier->peers[peer].out, (struct message){(uint8_t *)(uintptr_t)data, bytes, carrier->batch}, err);
}

static enum ls_status receive_values(void *state, int peer, void *data, size_t bytes, struct ls_error *err)
{
    struct nccl_carrier *carrier = ((struct nccl *)state)->carrier;

    carrier->peers[peer].values.receives_posted++;
    count(carrier, peer);
    return push(&carrier->peers[peer].in, (struct message){data, bytes, carrier->batch}, err);
}

static void flush(void *state)
{
    ((struct nccl *)state)->carrier->batch++;
}

/* The oldest batch that something is to be staged of; the open one: there is none. */
static uint64_t oldest(const struct nccl *nccl)
{
    const struct nccl_carrier *carrier = nccl->carrier;
    uint64_t batch = carrier->batch;

    for (int r = 0; r < nccl->group->world; r++) {
        const struct queue *out = &carrier->peers[r].out, *in = &carrier->peers[r].in;
        if (out->next < out->count && item(out, out->next)->batch < batch)
            batch = item(out, out->next)->batch;
        if (in->next < in->count && item(in, in->next)->batch < batch)
            batch = item(in, in->next)->batch;
    }
    return batch;
}

static size_t due(const struct queue *queue, uint64_t batch, size_t share)
{
    size_t bytes = 0;

    for (size_t i = queue->next; i < queue->count && item(queue, i)->batch == batch && bytes < share; i++)
        bytes += item(queue, i)->bytes - (i == queue->next ? queue->staged : 0);
    return bytes < share ? bytes : share;
}

/* The next bytes are in a round; to: NULL, or where they are staged. */
static void stage(struct queue *queue, size_t bytes, uint8_t *to)
{
    while (bytes > 0) {
        const struct message *message = item(queue, queue->next);
        size_t left = message->bytes - queue->staged, n = left < bytes ? left : bytes;
        if (to != NULL) {
            memcpy(to, message->data + queue->staged, n);
            to += n;
        }
        bytes -= n;
        queue->staged += n;
        if (n < left)
            continue;
        queue->staged = 0;
        queue->next++;
    }
}

/* The oldest bytes in rounds are over; from: NULL, or what has come. */
static void land(struct queue *queue, size_t bytes, const uint8_t *from, uint64_t *done)
{
    while (bytes > 0) {
        const struct message *message = item(queue, 0);
        size_t left = message->bytes - queue->landed, n = left < bytes ? left : bytes;
        if (from != NULL) {
            memcpy(message->data + queue->landed, from, n);
            from += n;
        }
        bytes -= n;
        queue->landed += n;
        if (n < left)
            continue;
        queue->landed = 0;
        queue->first = (queue->first + 1) % queue->capacity;
        queue->count--;
        queue->next--;
        (*done)++;
    }
}

static void stage_round(struct nccl *nccl, struct nccl_slot *slot, uint64_t batch)
{
    struct nccl_carrier *carrier = nccl->carrier;

    lsi_nccl_slot_clear(nccl, slot, ROUND_EXCHANGE);
    for (int r = 0; r < nccl->group->world; r++) {
        struct peer *peer = &carrier->peers[r];
        size_t out = due(&peer->out, batch, carrier->share), in = due(&peer->in, batch, carrier->share);
        if (out > 0)
            stage(&peer->out, out, lsi_nccl_slot_send(slot, r, out));
        if (in > 0)
            (void)lsi_nccl_slot_receive(slot, r, in);
        stage(&peer->in, in, NULL);
    }
}

static void land_round(struct nccl *nccl, const struct nccl_slot *slot)
{
    for (int r = 0; r < nccl->group->world; r++) {
        struct peer *peer = &nccl->carrier->peers[r];
        land(&peer->out, slot->send[r].bytes, NULL, &peer->values.sends_done);
        land(&peer->in, slot->receive[r].bytes, slot->host_in + slot->receive[r].at, &peer->values.receives_done);
    }
}

static struct nccl_slot *slot_of(struct nccl *nccl, int64_t q)
{
    return &nccl->slots[q % NCCL_SLOTS];
}

/* One round over, the next begun, where that can be. */
static enum ls_status step(struct nccl *nccl, bool *moved, struct ls_error *err)
{
    enum ls_status status = LS_OK;
    bool queued;

    if (nccl->launched > nccl->done)
        status = lsi_nccl_settle(nccl, slot_of(nccl, nccl->launched - 1), err);
    if (status != LS_OK && status != LS_EAGAIN)
        return status;
    queued = status == LS_OK;
    if (nccl->launched > nccl->done) {
        status = lsi_nccl_finish(nccl, slot_of(nccl, nccl->done), err);
        if (status != LS_OK && status != LS_EAGAIN)
            return status;
        if (status == LS_OK) {
            land_round(nccl, slot_of(nccl, nccl->done++));
            nccl->group->ticks++;
            *moved = true;
        }
    }
    uint64_t batch = oldest(nccl);
    if (!queued || batch == nccl->carrier->batch || nccl->launched - nccl->done == NCCL_SLOTS)
        return LS_OK;
    *moved = true;
    stage_round(nccl, slot_of(nccl, nccl->launched), batch);
    return lsi_nccl_launch(nccl, slot_of(nccl, nccl->launched++), err);
}

static enum ls_status carrier_poll(void *state, int *culprit, struct ls_error *err)
{
    struct nccl *nccl = state;
    struct ls_error why = LS_ERROR_INIT;
    enum ls_status status = nccl->failed_ns == 0 ? LS_OK : nccl->failure.status, words;
    bool moved = nccl->failed_ns == 0;

    while (moved && status == LS_OK) {
        moved = false;
        status = step(nccl, &moved, &why);
    }
    words = lsi_tcp_links.poll(nccl->over.links, culprit, err);
    /* While rounds run nobody is idle on the mesh: deaths, and what peers say, are looked for now and then. */
    if (words == LS_OK && nccl->launched > nccl->done && nccl->polls++ % LOOK_ROUNDS == 0)
        words = lsi_tcp_links.look(nccl->over.links, culprit, err);
    for (int r = 0; r < nccl->group->world; r++)
        count(nccl->carrier, r);
    if (words != LS_OK || status == LS_OK)
        return words;
    status = lsi_nccl_hold_back(nccl, status, &why, err);
    *culprit = nccl->group->rank;
    return status == LS_EAGAIN ? LS_OK : status;
}

/* An event wakes nobody: while rounds run, a sleep is short. */
static bool carrier_idle(void *state, int round)
{
    struct nccl *nccl = state;
    struct timespec pause = {0, 20000};

    if (nccl->launched == nccl->done)
        return lsi_tcp_links.idle(nccl->over.links, round);
    if (round < YIELD_ROUNDS) {
        (void)sched_yield();
        return false;
    }
    (void)nanosleep(&pause, NULL);
    return true;
}

static void carrier_died(void *state, int peer)
{
    const struct nccl *nccl = state;

    lsi_tcp_links.died(nccl->over.links, peer);
}

static void carrier_destroy(void *state)
{
    struct nccl *nccl = state;
    struct nccl_carrier *carrier = nccl->carrier;
    int world = nccl->group->world;

    lsi_nccl_links.destroy(nccl);
    for (int r = 0; carrier->peers != NULL && r < world; r++) {
        ls_free(carrier->peers[r].out.items);
        ls_free(carrier->peers[r].in.items);
    }
    ls_free(carrier->peers);
    ls_free(carrier->link);
    ls_free(carrier);
}

static enum ls_status carrier_open(const struct ls_group_options *options, struct ls_group *group, void **links,
                                   struct lsi_link **link, struct ls_error *err)
{
    struct nccl_carrier *carrier = ls_alloc_zeroed(1, sizeof *carrier);
    size_t world = (size_t)group->world;
    struct lsi_link *words;
    struct nccl *nccl;
    enum ls_status status;

    if (carrier != NULL)
        carrier->peers = ls_alloc_zeroed(world, sizeof carrier->peers[0]);
    if (carrier != NULL)
        carrier->link = ls_alloc_zeroed(world, sizeof carrier->link[0]);
    if (carrier == NULL || carrier->peers == NULL || carrier->link == NULL)
        status = ls_error_set(err, LS_ENOMEM, "no memory for a group of %zu", world);
    else
        status = lsi_nccl_open(options, group, false, &nccl, &words, err);
    if (status != LS_OK) {
        ls_free(carrier != NULL ? carrier->peers : NULL);
        ls_free(carrier != NULL ? carrier->link : NULL);
        ls_free(carrier);
        return status;
    }
    carrier->words = words;
    carrier->share = NCCL_STAGE_BYTES / world & ~(size_t)(NCCL_GRAIN - 1);
    nccl->carrier = carrier;
    for (int r = 0; r < group->world; r++)
        count(carrier, r);
    *links = nccl;
    *link = carrier->link;
    return LS_OK;
}

const struct lsi_links_ops lsi_nccl_carrier = {
    .open = carrier_open,
    .send = carrier_send,
    .receive = carrier_receive,
    .send_values = send_values,
    .receive_values = receive_values,
    .flush = flush,
    .poll = carrier_poll,
    .idle = carrier_idle,
    .abort = lsi_nccl_abort,
    .destroy = carrier_destroy,
    .look = lsi_over_look,
    .tell_wait = lsi_over_tell_wait,
    .heard_wait = lsi_over_heard_wait,
    .died = carrier_died,
    .needs_polls = true,
};
