/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider "mpi": the message engine over MPI_Isend and MPI_Irecv of the plug-in. The k-th different worker among
 * the members is process k of the launch; replicas of one worker are told apart by tags. One mpirun is one gang: a
 * process that dies takes the launch with it (mpirun ends the others), an abort is told to all members.
 */
#include "collective/provider/mpi/mpi_internal.h"

#include "core/base/alloc.h"

#include <sched.h>
#include <string.h>
#include <time.h>

#define MOST_BYTES ((size_t)1 << 30)
#define YIELD_ROUNDS 4000

/* Of messages from one member to another; at most the 32,767 that every MPI allows. */
static int tag_of(const struct mpi *mpi, int from_replica, int to_replica)
{
    return (int)(mpi->context << 8) | from_replica << 4 | to_replica;
}

static enum ls_status failed(const struct mpi *mpi, int code, int peer, struct ls_error *err)
{
    char text[256];
    char who[128];

    mpi->plugin->text(code, text, sizeof text);
    return ls_error_set(err, LS_EPEER, "MPI lost %s: %s", lsi_member_text(mpi->group, peer, who), text);
}

static struct mpi_item *push(struct mpi_queue *queue)
{
    if (queue->count == queue->capacity) {
        size_t capacity = queue->capacity == 0 ? 32 : 2 * queue->capacity;
        struct mpi_item *items = ls_alloc_zeroed(capacity, sizeof *items);
        if (items == NULL)
            return NULL;
        for (size_t i = 0; i < queue->count; i++)
            items[i] = queue->items[(queue->first + i) % queue->capacity];
        ls_free(queue->items);
        queue->items = items;
        queue->capacity = capacity;
        queue->first = 0;
    }
    return &queue->items[(queue->first + queue->count++) % queue->capacity];
}

static enum ls_status post(struct mpi *mpi, int peer, void *data, size_t bytes, bool sends, struct ls_error *err)
{
    struct mpi_peer *to = &mpi->peers[peer];
    int own = mpi->peers[mpi->group->rank].replica;

    for (size_t done = 0; done < bytes; done += MOST_BYTES) {
        size_t n = bytes - done < MOST_BYTES ? bytes - done : MOST_BYTES;
        uint8_t *at = (uint8_t *)data + done;
        struct mpi_item *item = push(sends ? &to->out : &to->in);
        if (item == NULL)
            return ls_error_set(err, LS_ENOMEM, "no memory for another message");
        item->last = done + n == bytes;
        int code =
            sends ? mpi->plugin->send(LS_MPI_DATA, at, n, to->process, tag_of(mpi, own, to->replica), &item->handle)
                  : mpi->plugin->receive(LS_MPI_DATA, at, n, to->process, tag_of(mpi, to->replica, own), &item->handle);
        if (code != 0)
            return failed(mpi, code, peer, err);
    }
    return LS_OK;
}

enum ls_status lsi_mpi_send(void *state, int peer, const void *data, size_t bytes, struct ls_error *err)
{
    struct mpi *mpi = state;

    mpi->links[peer].sends_posted++;
    return post(mpi, peer, (void *)(uintptr_t)data, bytes, true, err);
}

enum ls_status lsi_mpi_receive(void *state, int peer, void *data, size_t bytes, struct ls_error *err)
{
    struct mpi *mpi = state;

    mpi->links[peer].receives_posted++;
    return post(mpi, peer, data, bytes, false, err);
}

/* Takes finished messages off the front of a queue. */
static int reap(const struct mpi *mpi, struct mpi_queue *queue, uint64_t *done_count)
{
    while (queue->count > 0) {
        struct mpi_item *item = &queue->items[queue->first];
        int done = 0;
        int code = mpi->plugin->test(&item->handle, &done);
        if (code != 0 || !done)
            return code;
        *done_count += item->last;
        queue->first = (queue->first + 1) % queue->capacity;
        queue->count--;
    }
    return 0;
}

enum ls_status lsi_mpi_listen(struct mpi *mpi)
{
    int tag = tag_of(mpi, 0, mpi->peers[mpi->group->rank].replica);

    mpi->alarm_posted = mpi->plugin->receive(LS_MPI_ALARM, &mpi->heard, sizeof mpi->heard, -1, tag, &mpi->alarm) == 0;
    return mpi->alarm_posted ? LS_OK : LS_EPEER;
}

/* A member ended the group. */
static enum ls_status hear(struct mpi *mpi, int *culprit, struct ls_error *err)
{
    int done = 0;

    if (!mpi->has_heard && (!mpi->alarm_posted || mpi->plugin->test(&mpi->alarm, &done) != 0 || !done))
        return LS_OK;
    mpi->alarm_posted = false;
    mpi->has_heard = true;
    mpi->heard.reason[sizeof mpi->heard.reason - 1] = '\0';
    *culprit = mpi->heard.culprit >= 0 && mpi->heard.culprit < mpi->group->world ? mpi->heard.culprit : -1;
    return ls_error_set(err, ls_status_of_peer(mpi->heard.status, LS_EPEER), "%s", mpi->heard.reason);
}

enum ls_status lsi_mpi_poll(void *state, int *culprit, struct ls_error *err)
{
    struct mpi *mpi = state;

    for (int r = 0; r < mpi->group->world; r++) {
        int code = reap(mpi, &mpi->peers[r].out, &mpi->links[r].sends_done);
        if (code == 0)
            code = reap(mpi, &mpi->peers[r].in, &mpi->links[r].receives_done);
        if (code != 0) {
            *culprit = r;
            return failed(mpi, code, r, err);
        }
    }
    return hear(mpi, culprit, err);
}

/* MPI moves bytes inside its calls only: a sleep is short. */
bool lsi_mpi_idle(void *state, int round)
{
    struct timespec pause = {0, 50000};

    (void)state;
    if (round < YIELD_ROUNDS) {
        if (round > 20)
            (void)sched_yield();
        return false;
    }
    (void)nanosleep(&pause, NULL);
    return true;
}

static void say_end(struct mpi *mpi)
{
    int nobody = 0;

    if (!atomic_compare_exchange_strong(&mpi->has_said, &nobody, 1))
        return;
    mpi->said.status = mpi->group->end.status;
    mpi->said.culprit = mpi->group->end.culprit;
    memcpy(mpi->said.reason, mpi->group->end.reason, sizeof mpi->said.reason);
    for (int r = 0; r < mpi->group->world; r++) {
        struct ls_mpi_handle handle;
        struct mpi_peer *to = &mpi->peers[r];
        if (r != mpi->group->rank && mpi->plugin->send(LS_MPI_ALARM, &mpi->said, sizeof mpi->said, to->process,
                                                       tag_of(mpi, 0, to->replica), &handle) == 0)
            mpi->plugin->forget_send(&handle);
    }
}

/* From any thread where MPI allows it; otherwise the group's own thread tells the peers when it ends the group. */
static void mpi_abort(void *state)
{
    struct mpi *mpi = state;

    (void)lsi_group_end_error(mpi->group, NULL);
    if (lsi_mpi_launch_get()->any_thread)
        say_end(mpi);
}

static void drop(const struct mpi *mpi, struct mpi_queue *queue, bool sends)
{
    for (size_t i = 0; i < queue->count; i++) {
        struct ls_mpi_handle *handle = &queue->items[(queue->first + i) % queue->capacity].handle;
        if (sends)
            mpi->plugin->forget_send(handle);
        else
            mpi->plugin->cancel_receive(handle);
    }
    ls_free(queue->items);
}

static void mpi_destroy(void *state)
{
    struct mpi *mpi = state;

    if (lsi_group_ended(mpi->group))
        say_end(mpi);
    if (mpi->alarm_posted)
        mpi->plugin->cancel_receive(&mpi->alarm);
    for (int r = 0; mpi->peers != NULL && r < mpi->group->world; r++) {
        drop(mpi, &mpi->peers[r].out, true);
        drop(mpi, &mpi->peers[r].in, false);
    }
    ls_free(mpi->peers);
    ls_free(mpi->links);
    /* What was said may still be read by MPI. */
    if (atomic_load(&mpi->has_said) == 0)
        ls_free(mpi);
}

static enum ls_status mpi_open(const struct ls_group_options *options, struct ls_group *group, void **links,
                               struct lsi_link **link, struct ls_error *err)
{
    const struct mpi_launch *launch = lsi_mpi_launch_get();
    struct mpi *mpi;
    enum ls_status status;

    if (launch->plugin == NULL)
        return ls_error_set(err, LS_EUNSUPPORTED, "the transport '%s' needs processes that mpirun started",
                            group->ops->name);
    mpi = ls_alloc_zeroed(1, sizeof *mpi);
    if (mpi == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a group");
    mpi->group = group;
    mpi->plugin = launch->plugin;
    status = lsi_mpi_form(mpi, options, err);
    if (status != LS_OK) {
        mpi_destroy(mpi);
        return status;
    }
    *links = mpi;
    *link = mpi->links;
    return LS_OK;
}

const struct lsi_links_ops lsi_mpi_links = {
    .open = mpi_open,
    .segment_bytes = 512 * 1024,
    .send = lsi_mpi_send,
    .receive = lsi_mpi_receive,
    .poll = lsi_mpi_poll,
    .idle = lsi_mpi_idle,
    .abort = mpi_abort,
    .destroy = mpi_destroy,
    .look = lsi_mpi_poll,
    .needs_polls = true,
};

/* Bytes move while the other thread polls, where MPI lets it. */
bool lsi_mpi_drives_beside(const void *state)
{
    (void)state;
    return lsi_mpi_launch_get()->any_thread;
}

bool lsi_mpi_one_thread(const void *state)
{
    (void)state;
    return !lsi_mpi_launch_get()->any_thread;
}

const struct ls_provider_ops lsi_mpi_provider = {
    .size = sizeof(struct ls_provider_ops),
    .abi = LSI_PROVIDER_ABI,
    .name = "mpi",
    .links = &lsi_mpi_links,
    .supports = lsi_message_supports,
    .context = lsi_mpi_context,
    .drives_beside = lsi_mpi_drives_beside,
    .one_thread = lsi_mpi_one_thread,
};
