/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual time: a heap of what is under way, delays and losses drawn per stream, crashes and the partition. */
#include "collective/transport/sim/sim_internal.h"

#include "core/base/alloc.h"

#include <string.h>

#define STEP_NS 5000000u

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

bool lsi_sim_chance(struct sim_stream *stream, int permille)
{
    return permille > 0 && draw(&stream->random) % 1000 < (uint64_t)permille;
}

/* Time, then stream, then order: nothing of it depends on the order of calls. */
static bool before(const struct sim_event *a, const struct sim_event *b)
{
    if (a->at_ns != b->at_ns)
        return a->at_ns < b->at_ns;
    if (a->from != b->from)
        return a->from < b->from;
    return a->to != b->to ? a->to < b->to : a->order < b->order;
}

struct sim_event *lsi_sim_event(struct ls_sim_network *network, enum sim_kind kind, int from, int to, size_t bytes)
{
    struct sim_event *event = ls_alloc(sizeof *event + bytes);

    if (event == NULL)
        return NULL;
    *event = (struct sim_event){.kind = kind, .from = from, .to = to, .bytes = bytes};
    event->order = sim_stream(network, from, to)->order++;
    return event;
}

bool lsi_sim_push(struct ls_sim_network *network, struct sim_event *event)
{
    size_t at = network->heap_count;

    if (event->at_ns == SIM_NEVER) {
        ls_free(event);
        return true;
    }
    if (at == network->heap_capacity) {
        size_t capacity = at == 0 ? 64 : 2 * at;
        struct sim_event **heap = ls_realloc(network->heap, capacity, sizeof(struct sim_event *));
        if (heap == NULL) {
            ls_free(event);
            return false;
        }
        network->heap = heap;
        network->heap_capacity = capacity;
    }
    network->heap_count++;
    for (; at > 0 && before(event, network->heap[(at - 1) / 2]); at = (at - 1) / 2)
        network->heap[at] = network->heap[(at - 1) / 2];
    network->heap[at] = event;
    return true;
}

static struct sim_event *pop(struct ls_sim_network *network)
{
    struct sim_event *first = network->heap[0];
    struct sim_event *last = network->heap[--network->heap_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= network->heap_count)
            break;
        if (child + 1 < network->heap_count && before(network->heap[child + 1], network->heap[child]))
            child++;
        if (!before(network->heap[child], last))
            break;
        network->heap[at] = network->heap[child];
        at = child;
    }
    network->heap[at] = last;
    return first;
}

static bool partitioned(const struct ls_sim_network *network, int from, int to, uint64_t at_ns)
{
    const struct sim_partition *p = &network->partition;

    return at_ns >= p->from_ns && at_ns < p->until_ns && ((p->mask >> from ^ p->mask >> to) & 1) != 0;
}

/* The connection of two members ends on both sides, without a word. */
static void cut_at(struct ls_sim_network *network, int a, int b, uint64_t at_ns)
{
    for (int side = 0; side < 2; side++) {
        struct sim_event *cut = lsi_sim_event(network, SIM_CUT, side == 0 ? a : b, side == 0 ? b : a, 0);
        if (cut == NULL)
            return;
        cut->at_ns = at_ns;
        (void)lsi_sim_push(network, cut);
    }
}

uint64_t lsi_sim_arrival(struct ls_sim_network *network, int from, int to)
{
    const struct ls_sim_options *options = &network->options;
    const struct sim_member *sender = &network->member[from];
    struct sim_stream *stream = sim_stream(network, from, to);
    uint64_t retry = options->retry_ns, at = network->now_ns;

    while (partitioned(network, from, to, at) || lsi_sim_chance(stream, options->loss_permille)) {
        at += retry;
        retry = retry < options->give_up_ns / 16 ? 2 * retry : retry;
        if (at - network->now_ns > options->give_up_ns) {
            cut_at(network, from, to, network->now_ns + options->give_up_ns);
            return SIM_NEVER;
        }
        if (sender->silent && at >= sender->crash_ns)
            return SIM_NEVER;
    }
    at += options->delay_ns + (options->jitter_ns > 0 ? draw(&stream->random) % options->jitter_ns : 0);
    return lsi_sim_chance(stream, options->slow_permille) ? at + 20 * options->delay_ns : at;
}

static void crash(struct ls_sim_network *network, int rank)
{
    struct sim_member *member = &network->member[rank];
    struct sim_word word = {.kind = SIM_DEATH, .status = LS_EPEER, .culprit = rank};

    member->crashed = true;
    if (!member->silent && !member->has_said)
        lsi_sim_say(network, rank, &word);
    for (int r = 0; r < network->options.world && member->silent; r++)
        if (r != rank)
            cut_at(network, rank, r, network->now_ns + network->options.give_up_ns);
    member->has_said = true;
}

/* Words overtake each other: the first end counts, and of waits the newest. */
static void hear(struct sim_stream *stream, const struct sim_event *event)
{
    struct sim_word word;

    memcpy(&word, event->data, sizeof word);
    if (stream->cut)
        return;
    if (word.kind == SIM_WAITS && event->order >= stream->waits_order) {
        stream->waits_for = word.culprit;
        stream->waits_order = event->order;
    }
    if (word.kind != SIM_WAITS && stream->word.kind <= SIM_BYE)
        stream->word = word;
}

static void happen(struct ls_sim_network *network, struct sim_event *event)
{
    struct sim_stream *stream = sim_stream(network, event->from, event->to);

    switch (event->kind) {
    case SIM_PACKET:
    case SIM_END:
        lsi_sim_arrive(network, event);
        return;
    case SIM_WORD:
        hear(stream, event);
        break;
    case SIM_CUT:
        stream->cut = true;
        break;
    case SIM_CRASH:
        crash(network, event->from);
        break;
    }
    ls_free(event);
}

void lsi_sim_advance(struct ls_sim_network *network)
{
    uint64_t limit = network->now_ns + STEP_NS;

    network->now_ns = network->heap_count > 0 && network->heap[0]->at_ns < limit ? network->heap[0]->at_ns : limit;
    while (network->heap_count > 0 && network->heap[0]->at_ns <= network->now_ns)
        happen(network, pop(network));
    (void)pthread_cond_broadcast(&network->moved);
}

enum ls_status ls_sim_network_create(const struct ls_sim_options *options, struct ls_sim_network **network,
                                     struct ls_error *err)
{
    struct ls_sim_network *made;
    size_t world = (size_t)options->world;

    if (options->world < 1 || options->world > SIM_MAX_MEMBERS || options->packet_bytes < 1 ||
        options->window_bytes < options->packet_bytes || options->retry_ns < 1 || options->give_up_ns < 16)
        return ls_error_set(err, LS_EINVAL,
                            "a virtual network of %d members (1 to %d), packets of %zu bytes in a "
                            "window of %zu",
                            options->world, SIM_MAX_MEMBERS, options->packet_bytes, options->window_bytes);
    made = ls_alloc_zeroed(1, sizeof *made);
    if (made != NULL)
        made->streams = ls_alloc_zeroed(world * world, sizeof made->streams[0]);
    if (made == NULL || made->streams == NULL) {
        ls_free(made);
        return ls_error_set(err, LS_ENOMEM, "no memory for a virtual network of %zu", world);
    }
    made->options = *options;
    for (size_t i = 0; i < world * world; i++) {
        made->streams[i].waits_for = -1;
        made->streams[i].random = options->seed * UINT64_C(0x2545f4914f6cdd1d) + i;
    }
    (void)pthread_mutex_init(&made->lock, NULL);
    (void)pthread_cond_init(&made->moved, NULL);
    *network = made;
    return LS_OK;
}

struct ls_sim_network *lsi_sim_child(struct ls_sim_network *network, uint64_t key, int world)
{
    struct ls_sim_options options = network->options;
    struct ls_sim_network *child;

    (void)pthread_mutex_lock(&network->lock);
    for (child = network->children; child != NULL && child->key != key; child = child->sibling)
        ;
    options.world = world;
    options.seed += key * UINT64_C(0x9e3779b97f4a7c15);
    if (child == NULL && ls_sim_network_create(&options, &child, NULL) == LS_OK) {
        child->key = key;
        child->sibling = network->children;
        network->children = child;
    }
    (void)pthread_mutex_unlock(&network->lock);
    return child;
}

void ls_sim_network_destroy(struct ls_sim_network *network)
{
    if (network == NULL)
        return;
    for (struct ls_sim_network *child; (child = network->children) != NULL;) {
        network->children = child->sibling;
        ls_sim_network_destroy(child);
    }
    while (network->heap_count > 0)
        ls_free(pop(network));
    for (int i = 0; i < network->options.world * network->options.world; i++)
        lsi_sim_stream_free(&network->streams[i]);
    (void)pthread_mutex_destroy(&network->lock);
    (void)pthread_cond_destroy(&network->moved);
    ls_free(network->heap);
    ls_free(network->streams);
    ls_free(network);
}

enum ls_status ls_sim_crash(struct ls_sim_network *network, int rank, uint64_t at_ns, bool silent)
{
    struct sim_event *event;
    bool pushed;

    (void)pthread_mutex_lock(&network->lock);
    network->member[rank].crash_ns = at_ns;
    network->member[rank].silent = silent;
    event = lsi_sim_event(network, SIM_CRASH, rank, rank, 0);
    if (event != NULL)
        event->at_ns = at_ns;
    pushed = event != NULL && lsi_sim_push(network, event);
    (void)pthread_mutex_unlock(&network->lock);
    return pushed ? LS_OK : LS_ENOMEM;
}

enum ls_status ls_sim_partition(struct ls_sim_network *network, uint64_t mask, uint64_t from_ns, uint64_t until_ns)
{
    int world = network->options.world;

    (void)pthread_mutex_lock(&network->lock);
    network->partition = (struct sim_partition){mask, from_ns, until_ns};
    for (int a = 0; a < world && until_ns - from_ns >= network->options.give_up_ns; a++)
        for (int b = 0; b < a; b++)
            if (partitioned(network, a, b, from_ns))
                cut_at(network, a, b, from_ns + network->options.give_up_ns);
    (void)pthread_mutex_unlock(&network->lock);
    return LS_OK;
}

uint64_t ls_sim_now(struct ls_sim_network *network)
{
    (void)pthread_mutex_lock(&network->lock);
    uint64_t now = network->now_ns;
    (void)pthread_mutex_unlock(&network->lock);
    return now;
}

bool ls_sim_crashed(struct ls_sim_network *network, int rank)
{
    (void)pthread_mutex_lock(&network->lock);
    bool crashed = network->member[rank].crashed;
    (void)pthread_mutex_unlock(&network->lock);
    return crashed;
}

void ls_sim_step(struct ls_sim_network *network)
{
    (void)pthread_mutex_lock(&network->lock);
    lsi_sim_advance(network);
    for (struct ls_sim_network *child = network->children; child != NULL; child = child->sibling)
        ls_sim_step(child);
    (void)pthread_mutex_unlock(&network->lock);
}

int ls_sim_members(struct ls_sim_network *network)
{
    int open = 0;

    (void)pthread_mutex_lock(&network->lock);
    for (int r = 0; r < network->options.world; r++)
        open += network->member[r].group != NULL;
    (void)pthread_mutex_unlock(&network->lock);
    return open;
}
