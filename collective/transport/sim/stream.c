/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of bytes over packets that come late, twice and out of order: a window, sequence numbers, reassembly. */
#include "collective/transport/sim/sim_internal.h"

#include "core/base/alloc.h"

#include <string.h>

bool lsi_sim_queue_push(struct sim_queue *queue, const void *data, size_t bytes)
{
    if (queue->count == queue->capacity) {
        size_t capacity = queue->capacity == 0 ? 16 : 2 * queue->capacity;
        struct sim_item *items = ls_alloc_zeroed(capacity, sizeof *items);
        if (items == NULL)
            return false;
        for (size_t i = 0; i < queue->count; i++)
            items[i] = queue->items[(queue->first + i) % queue->capacity];
        ls_free(queue->items);
        queue->items = items;
        queue->capacity = capacity;
        queue->first = 0;
    }
    queue->items[(queue->first + queue->count++) % queue->capacity] =
        (struct sim_item){(uint8_t *)(uintptr_t)data, bytes};
    return true;
}

/* Copies at most `most` bytes between the front of the queue and memory; counts the messages that it ended. */
static size_t move(struct sim_queue *queue, uint8_t *memory, size_t most, bool out, uint64_t *ended)
{
    size_t moved = 0;

    while (queue->count > 0 && moved < most) {
        struct sim_item *item = &queue->items[queue->first];
        size_t n = item->bytes - queue->done < most - moved ? item->bytes - queue->done : most - moved;
        if (out)
            memcpy(memory + moved, item->data + queue->done, n);
        else
            memcpy(item->data + queue->done, memory + moved, n);
        moved += n;
        queue->done += n;
        if (queue->done < item->bytes)
            continue;
        queue->done = 0;
        queue->first = (queue->first + 1) % queue->capacity;
        queue->count--;
        (*ended)++;
    }
    return moved;
}

static size_t waiting_bytes(const struct sim_queue *queue, size_t most)
{
    size_t bytes = 0;

    for (size_t i = 0; i < queue->count && bytes < most; i++)
        bytes += queue->items[(queue->first + i) % queue->capacity].bytes - (i == 0 ? queue->done : 0);
    return bytes < most ? bytes : most;
}

/* One packet, perhaps a second time. */
static bool send_packet(struct ls_sim_network *network, int from, int to, size_t bytes)
{
    struct sim_stream *stream = sim_stream(network, from, to);
    struct sim_event *packet = lsi_sim_event(network, SIM_PACKET, from, to, bytes);
    struct sim_event *again = NULL;

    if (packet == NULL)
        return false;
    (void)move(&stream->out, packet->data, bytes, true, &network->member[from].links[to].sends_done);
    packet->sequence = stream->sent++;
    packet->at_ns = lsi_sim_arrival(network, from, to);
    stream->in_flight += bytes;
    if (lsi_sim_chance(stream, network->options.duplicate_permille))
        again = lsi_sim_event(network, SIM_PACKET, from, to, bytes);
    if (again != NULL) {
        again->sequence = packet->sequence;
        memcpy(again->data, packet->data, bytes);
        again->at_ns = lsi_sim_arrival(network, from, to);
        (void)lsi_sim_push(network, again);
    }
    return lsi_sim_push(network, packet);
}

void lsi_sim_send(struct ls_sim_network *network, int from, int to)
{
    struct sim_stream *stream = sim_stream(network, from, to);

    while (stream->out.count > 0 && !stream->short_of_memory) {
        size_t bytes = waiting_bytes(&stream->out, network->options.packet_bytes);
        if (stream->in_flight + bytes > network->options.window_bytes)
            return;
        stream->short_of_memory = !send_packet(network, from, to, bytes);
    }
}

void lsi_sim_take(struct ls_sim_network *network, int from, int to)
{
    struct sim_stream *stream = sim_stream(network, from, to);
    struct sim_event *packet;

    while ((packet = stream->early) != NULL && packet->sequence == stream->expected) {
        if (packet->kind == SIM_END) {
            stream->ended = true;
            return;
        }
        size_t n = move(&stream->in, packet->data + packet->taken, packet->bytes - packet->taken, false,
                        &network->member[to].links[from].receives_done);
        packet->taken += n;
        stream->in_flight -= n;
        if (packet->taken < packet->bytes)
            return;
        stream->early = packet->next;
        stream->expected++;
        ls_free(packet);
    }
}

void lsi_sim_arrive(struct ls_sim_network *network, struct sim_event *event)
{
    struct sim_stream *stream = sim_stream(network, event->from, event->to);
    struct sim_event **place = &stream->early;

    while (*place != NULL && (*place)->sequence < event->sequence)
        place = &(*place)->next;
    if (event->sequence < stream->expected || (*place != NULL && (*place)->sequence == event->sequence)) {
        ls_free(event);
        return;
    }
    event->next = *place;
    *place = event;
}

void lsi_sim_say(struct ls_sim_network *network, int from, const struct sim_word *word)
{
    for (int to = 0; to < network->options.world; to++) {
        struct sim_stream *stream = sim_stream(network, from, to);
        struct sim_event *says, *end;
        if (to == from)
            continue;
        says = lsi_sim_event(network, SIM_WORD, from, to, sizeof *word);
        if (says != NULL) {
            memcpy(says->data, word, sizeof *word);
            says->at_ns = lsi_sim_arrival(network, from, to);
            (void)lsi_sim_push(network, says);
        }
        if (word->kind == SIM_WAITS)
            continue;
        /* What was not sent is not sent any more. */
        stream->out.count = 0;
        end = lsi_sim_event(network, SIM_END, from, to, 0);
        if (end != NULL) {
            end->sequence = stream->sent++;
            end->at_ns = lsi_sim_arrival(network, from, to);
            (void)lsi_sim_push(network, end);
        }
    }
}

void lsi_sim_stream_free(struct sim_stream *stream)
{
    struct sim_event *packet;

    while ((packet = stream->early) != NULL) {
        stream->early = packet->next;
        ls_free(packet);
    }
    ls_free(stream->out.items);
    ls_free(stream->in.items);
}
