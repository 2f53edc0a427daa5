/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NCCL half of the stand-in: a file in shared memory per communicator, with a box of 128 KiB from each rank to each
 * other. A send is over when all of it was taken (a rendezvous), so that groups in another order hang as they may on a
 * device. Every call outside of a communicator's own is checked against NCCL's rules.
 *
 * STAND_IN_FAULT=KIND:RANK:NUMBER, NUMBER counting the rank's calls from 0:
 *   init-error, init-hang    forming fails, or never ends (NUMBER counts the process's communicators)
 *   async-error              the call never ends, and the communicator tells ncclRemoteError
 *   stuck                    the call never ends
 *   call-error               the call is refused
 *   abort-hang               aborting never ends
 */
#include "tests/support/nccl_stand_in/stand_in.h"

#include "tests/support/nccl_stand_in/sum.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MOST_RANKS 16
#define MOST_CALLS 64 /* in a group */
#define BOX_BYTES 131072
#define HEADER_BYTES 16

struct box {
    _Atomic uint64_t written;
    _Atomic uint64_t taken;
    uint8_t bytes[BOX_BYTES];
};

struct segment {
    _Atomic int arrived;
    struct box box[MOST_RANKS][MOST_RANKS]; /* [from][to] */
};

struct nccl_comm {
    struct nccl_comm *next;
    struct segment *segment;
    char name[NCCL_ID_BYTES];
    int world;
    int rank;
    int device;
    pthread_t starter;
    _Atomic int state; /* enum nccl_result */
    _Atomic int aborted;
    _Atomic int busy; /* calls on their way or on a stream */
    _Atomic int entered;
    bool dead;
    int made; /* communicators of this process before it */
    int calls;
    char fault[32];
    int fault_at;
};

enum kind { SEND, RECEIVE, BROADCAST, ALL_GATHER, ALL_REDUCE };

struct call {
    enum kind kind;
    const void *src;
    void *dst;
    size_t count;
    int dtype;
    int op;
    int peer;
};

/* One message of a running group: to or from a peer. */
struct transfer {
    bool sends;
    int peer;
    uint8_t *data;
    size_t bytes;
    size_t done;  /* header included */
    uint64_t end; /* sends: what must be taken */
    uint8_t header[HEADER_BYTES];
};

struct group {
    struct nccl_comm *comm;
    struct cuda_stream *stream;
    int count;
    int number; /* of the communicator's groups */
    struct call calls[MOST_CALLS];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct nccl_comm *comms; /* also dead ones: their use is an error of the provider */
static _Thread_local int depth;
static _Thread_local struct group *open_group;
static _Thread_local struct nccl_comm *aborts[MOST_CALLS];
static _Thread_local int abort_count;

static void check(const struct nccl_comm *comm)
{
    if (comm == NULL || comm->dead)
        stand_in_die("a communicator is used that is over");
}

/* One thread at a time; nothing but questions while a call is on its way. */
static void enter(struct nccl_comm *comm, bool asks)
{
    check(comm);
    if (atomic_exchange(&comm->entered, 1) != 0)
        stand_in_die("two threads are in one communicator");
    if (!asks && atomic_load(&comm->state) == NCCL_IN_PROGRESS)
        stand_in_die("a communicator is called while it is in progress");
}

static void leave(struct nccl_comm *comm)
{
    atomic_store(&comm->entered, 0);
}

static bool has_fault(const struct nccl_comm *comm, const char *kind, int number)
{
    return strcmp(comm->fault, kind) == 0 && comm->fault_at == number;
}

static void read_fault(struct nccl_comm *comm)
{
    const char *given = getenv("STAND_IN_FAULT");
    int rank = -1;

    if (given == NULL || sscanf(given, "%31[^:]:%d:%d", comm->fault, &rank, &comm->fault_at) < 2 || rank != comm->rank)
        comm->fault[0] = '\0';
}

int ncclGetVersion(int *version)
{
    const char *given = getenv("STAND_IN_VERSION");

    *version = given != NULL ? (int)strtol(given, NULL, 10) : 22809;
    return NCCL_OK;
}

int ncclGetUniqueId(struct nccl_id *id)
{
    static _Atomic int made;
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    memset(id, 0, sizeof *id);
    (void)snprintf(id->bytes, sizeof id->bytes, "/lockstep-stand-in-%d-%d-%ld", (int)getpid(),
                   atomic_fetch_add(&made, 1), now.tv_nsec);
    return NCCL_OK;
}

static void *start(void *argument)
{
    struct nccl_comm *comm = argument;

    if (has_fault(comm, "init-error", comm->made)) {
        atomic_store(&comm->state, 2);
        return NULL;
    }
    if (!has_fault(comm, "init-hang", comm->made))
        atomic_fetch_add(&comm->segment->arrived, 1);
    for (int i = 0; atomic_load(&comm->aborted) == 0; i++) {
        if (atomic_load(&comm->segment->arrived) == comm->world && !has_fault(comm, "init-hang", comm->made)) {
            (void)shm_unlink(comm->name);
            atomic_store(&comm->state, NCCL_OK);
            return NULL;
        }
        stand_in_pause(i);
    }
    (void)shm_unlink(comm->name);
    return NULL;
}

int ncclCommInitRankConfig(struct nccl_comm **made, int world, struct nccl_id id, int rank, struct nccl_config *config)
{
    static _Atomic int comms_made;
    struct nccl_comm *comm = calloc(1, sizeof *comm);
    int fd;

    if (comm == NULL || world > MOST_RANKS)
        return 2;
    if (config == NULL || config->magic != NCCL_CONFIG_MAGIC || config->size < sizeof *config || config->blocking != 0)
        stand_in_die("a communicator that blocks, or a configuration that was not initialised");
    memcpy(comm->name, id.bytes, sizeof comm->name);
    comm->made = atomic_fetch_add(&comms_made, 1);
    comm->world = world;
    comm->rank = rank;
    (void)cudaGetDevice(&comm->device);
    read_fault(comm);
    fd = shm_open(comm->name, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *comm->segment) != 0)
        stand_in_die("no shared memory");
    comm->segment = mmap(NULL, sizeof *comm->segment, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (comm->segment == MAP_FAILED)
        stand_in_die("no shared memory");
    atomic_store(&comm->state, NCCL_IN_PROGRESS);
    (void)pthread_mutex_lock(&mutex);
    comm->next = comms;
    comms = comm;
    (void)pthread_mutex_unlock(&mutex);
    if (pthread_create(&comm->starter, NULL, start, comm) != 0)
        stand_in_die("no thread");
    *made = comm;
    return NCCL_IN_PROGRESS;
}

int ncclCommGetAsyncError(struct nccl_comm *comm, int *state)
{
    enter(comm, true);
    *state = atomic_load(&comm->state);
    leave(comm);
    return NCCL_OK;
}

const char *ncclGetErrorString(int result)
{
    return result == NCCL_OK ? "no error" : result == NCCL_REMOTE_ERROR ? "remote process exited" : "some NCCL error";
}

const char *ncclGetLastError(struct nccl_comm *comm)
{
    (void)comm;
    return "said by the stand-in";
}

/* The longest run of bytes that lie together in the message (its header, or its data) and in the box. */
static size_t run_of(const struct transfer *t, uint64_t place, size_t most)
{
    size_t in_box = BOX_BYTES - (size_t)(place % BOX_BYTES), n = most < in_box ? most : in_box;

    return t->done < HEADER_BYTES && n > HEADER_BYTES - t->done ? HEADER_BYTES - t->done : n;
}

/* Moves what fits. */
static bool move(struct nccl_comm *comm, struct transfer *t)
{
    struct box *box = t->sends ? &comm->segment->box[comm->rank][t->peer] : &comm->segment->box[t->peer][comm->rank];
    uint64_t written = atomic_load(&box->written), taken = atomic_load(&box->taken);
    uint64_t place = t->sends ? written : taken, room = t->sends ? BOX_BYTES - (written - taken) : written - taken;
    size_t left = t->bytes + HEADER_BYTES - t->done, n = room < left ? (size_t)room : left;

    for (size_t moved = 0; moved < n;) {
        size_t run = run_of(t, place + moved, n - moved);
        uint8_t *mine = t->done < HEADER_BYTES ? &t->header[t->done] : &t->data[t->done - HEADER_BYTES];
        uint8_t *theirs = &box->bytes[(place + moved) % BOX_BYTES];
        memcpy(t->sends ? theirs : mine, t->sends ? mine : theirs, run);
        moved += run;
        t->done += run;
    }
    if (t->sends && n > 0)
        t->end = written + n;
    if (n > 0)
        atomic_store(t->sends ? &box->written : &box->taken, place + n);
    return n > 0;
}

static bool is_over(const struct nccl_comm *comm, const struct transfer *t)
{
    if (t->done < t->bytes + HEADER_BYTES)
        return false;
    return !t->sends || atomic_load(&comm->segment->box[comm->rank][t->peer].taken) >= t->end;
}

/* All at once, those of one pair one after another. */
static void run_transfers(struct nccl_comm *comm, struct transfer *transfers, int count)
{
    bool over = false;

    for (int round = 0; !over && atomic_load(&comm->aborted) == 0; round++) {
        bool moved = false;
        over = true;
        for (int i = 0; i < count; i++) {
            bool waits = false;
            for (int k = 0; k < i; k++)
                waits = waits || (transfers[k].peer == transfers[i].peer && transfers[k].sends == transfers[i].sends &&
                                  !is_over(comm, &transfers[k]));
            if (!waits && transfers[i].done < transfers[i].bytes + HEADER_BYTES)
                moved = move(comm, &transfers[i]) || moved;
            over = over && is_over(comm, &transfers[i]);
        }
        round = moved ? 0 : round;
        if (!over)
            stand_in_pause(round);
    }
}

/* Both sides call the same. */
static void set_header(uint8_t header[HEADER_BYTES], enum kind kind, size_t bytes)
{
    uint64_t words[2] = {kind == RECEIVE ? SEND : kind, bytes};

    memcpy(header, words, sizeof words);
}

static void add(struct transfer *transfers, int *count, struct transfer t, enum kind kind)
{
    transfers[*count] = t;
    if (t.sends)
        set_header(transfers[*count].header, kind, t.bytes);
    (*count)++;
}

static void check_headers(const struct nccl_comm *comm, const struct transfer *transfers, int count,
                          const enum kind *kinds)
{
    for (int i = 0; i < count && atomic_load(&comm->aborted) == 0; i++) {
        uint8_t wanted[HEADER_BYTES];
        set_header(wanted, kinds[i], transfers[i].bytes);
        if (!transfers[i].sends && memcmp(wanted, transfers[i].header, HEADER_BYTES) != 0)
            stand_in_die("ranks call different operations");
    }
}

/* The messages of a call; gathered: room for everybody's values of an all-reduce. */
static void unfold(const struct nccl_comm *comm, const struct call *call, uint8_t *gathered, struct transfer *transfers,
                   int *count)
{
    size_t bytes = call->count * stand_in_size(call->dtype);
    bool to_all =
        call->kind == ALL_GATHER || call->kind == ALL_REDUCE || (call->kind == BROADCAST && call->peer == comm->rank);
    bool from_all = call->kind == ALL_GATHER || call->kind == ALL_REDUCE;
    uint8_t *src =
        call->src != NULL && (to_all || call->kind == SEND) ? stand_in_device_memory(call->src, bytes) : NULL;
    uint8_t *dst = NULL;

    if (call->kind != SEND && (call->kind != BROADCAST || !to_all))
        dst = stand_in_device_memory(call->dst, call->kind == ALL_GATHER ? bytes * (size_t)comm->world : bytes);
    if (call->kind == ALL_REDUCE)
        dst = gathered;
    if (call->kind == SEND)
        add(transfers, count, (struct transfer){.sends = true, .peer = call->peer, .data = src, .bytes = bytes}, SEND);
    if (call->kind == RECEIVE || (call->kind == BROADCAST && !to_all))
        add(transfers, count, (struct transfer){.peer = call->peer, .data = dst, .bytes = bytes}, call->kind);
    for (int r = 0; r < comm->world; r++) {
        if (r == comm->rank && from_all)
            memcpy(dst + (size_t)r * bytes, src, bytes);
        if (r != comm->rank && to_all)
            add(transfers, count, (struct transfer){.sends = true, .peer = r, .data = src, .bytes = bytes}, call->kind);
        if (r != comm->rank && from_all)
            add(transfers, count, (struct transfer){.peer = r, .data = dst + (size_t)r * bytes, .bytes = bytes},
                call->kind);
    }
}

/* On the stream. */
static void run_group(void *argument)
{
    struct group *group = argument;
    struct nccl_comm *comm = group->comm;
    struct transfer transfers[MOST_CALLS * 2];
    enum kind kinds[MOST_CALLS * 2];
    const struct call *first = &group->calls[0];
    size_t bytes = first->count * stand_in_size(first->dtype);
    uint8_t *gathered = first->kind == ALL_REDUCE ? malloc(bytes * (size_t)comm->world) : NULL;
    int count = 0;

    for (int i = 0; i < group->count; i++) {
        int before = count;
        unfold(comm, &group->calls[i], gathered, transfers, &count);
        for (int k = before; k < count; k++)
            kinds[k] = group->calls[i].kind;
    }
    for (int i = 0; (has_fault(comm, "stuck", group->number) || has_fault(comm, "async-error", group->number)) &&
                    atomic_load(&comm->aborted) == 0;
         i++) {
        if (has_fault(comm, "async-error", group->number))
            atomic_store(&comm->state, NCCL_REMOTE_ERROR);
        stand_in_pause(i);
    }
    run_transfers(comm, transfers, count);
    check_headers(comm, transfers, count, kinds);
    if (gathered != NULL && atomic_load(&comm->aborted) == 0)
        stand_in_sum(stand_in_device_memory(first->dst, bytes), gathered, comm->world, first->count,
                     (struct stand_in_operation){first->dtype, first->op});
    free(gathered);
    free(group);
    atomic_fetch_sub(&comm->busy, 1);
}

/* A call of a communicator that does not block is on the stream a little later. */
static void *launch(void *argument)
{
    struct group *group = argument;
    struct nccl_comm *comm = group->comm;
    int busy = NCCL_IN_PROGRESS;

    for (int i = 0; i < group->number % 7 * 3; i++)
        (void)sched_yield();
    if (atomic_load(&comm->aborted) != 0) {
        free(group);
        atomic_fetch_sub(&comm->busy, 1);
        return NULL;
    }
    stand_in_enqueue(group->stream, run_group, group);
    (void)atomic_compare_exchange_strong(&comm->state, &busy, NCCL_OK);
    return NULL;
}

static int submit(struct group *group)
{
    struct nccl_comm *comm = group->comm;
    pthread_t thread;

    if (has_fault(comm, "call-error", group->number)) {
        free(group);
        return NCCL_INVALID_USAGE;
    }
    atomic_fetch_add(&comm->busy, 1);
    /* Both answers occur. */
    if (group->number % 4 == 3) {
        stand_in_enqueue(group->stream, run_group, group);
        return NCCL_OK;
    }
    atomic_store(&comm->state, NCCL_IN_PROGRESS);
    if (pthread_create(&thread, NULL, launch, group) != 0)
        stand_in_die("no thread");
    (void)pthread_detach(thread);
    return NCCL_IN_PROGRESS;
}

static bool device_is_busy(const struct nccl_comm *but)
{
    bool busy = false;

    (void)pthread_mutex_lock(&mutex);
    for (const struct nccl_comm *comm = comms; comm != NULL; comm = comm->next)
        busy = busy || (comm != but && !comm->dead && comm->device == but->device && atomic_load(&comm->busy) > 0);
    (void)pthread_mutex_unlock(&mutex);
    return busy;
}

/* Ends when the device is still: another communicator with something to do keeps it waiting. */
static void reclaim(struct nccl_comm *comm)
{
    (void)pthread_join(comm->starter, NULL);
    for (int i = 0; atomic_load(&comm->busy) > 0 || device_is_busy(comm) || has_fault(comm, "abort-hang", 0); i++)
        stand_in_pause(i);
    (void)munmap(comm->segment, sizeof *comm->segment);
    comm->dead = true;
}

int ncclGroupStart(void)
{
    depth++;
    return NCCL_OK;
}

int ncclGroupEnd(void)
{
    struct group *group = open_group;
    int code = NCCL_OK;

    if (depth == 0)
        stand_in_die("a group ends that did not begin");
    if (--depth > 0)
        return NCCL_OK;
    open_group = NULL;
    if (group != NULL) {
        struct nccl_comm *comm = group->comm;
        enter(comm, false);
        code = submit(group);
        leave(comm);
    }
    for (int i = 0; i < abort_count; i++)
        reclaim(aborts[i]);
    abort_count = 0;
    return code;
}

int ncclCommAbort(struct nccl_comm *comm)
{
    check(comm);
    (void)ncclGroupStart();
    atomic_store(&comm->aborted, 1);
    if (abort_count == MOST_CALLS)
        stand_in_die("too many communicators in a group");
    aborts[abort_count++] = comm;
    return ncclGroupEnd();
}

int ncclCommFinalize(struct nccl_comm *comm)
{
    enter(comm, false);
    for (int i = 0; atomic_load(&comm->busy) > 0; i++)
        stand_in_pause(i);
    leave(comm);
    return NCCL_OK;
}

int ncclCommDestroy(struct nccl_comm *comm)
{
    enter(comm, false);
    leave(comm);
    (void)pthread_join(comm->starter, NULL);
    (void)munmap(comm->segment, sizeof *comm->segment);
    comm->dead = true;
    return NCCL_OK;
}

static int append(struct nccl_comm *comm, struct cuda_stream *stream, struct call call)
{
    check(comm);
    (void)ncclGroupStart();
    if (open_group == NULL) {
        open_group = calloc(1, sizeof *open_group);
        if (open_group == NULL)
            stand_in_die("no memory");
        open_group->comm = comm;
        open_group->stream = stream;
        open_group->number = comm->calls++;
    }
    if (open_group->comm != comm || open_group->stream != stream || open_group->count == MOST_CALLS)
        stand_in_die("the stand-in knows groups of one communicator and one stream");
    open_group->calls[open_group->count++] = call;
    return ncclGroupEnd();
}

int ncclSend(const void *data, size_t count, int dtype, int peer, struct nccl_comm *comm, struct cuda_stream *stream)
{
    return append(comm, stream, (struct call){.kind = SEND, .src = data, .count = count, .dtype = dtype, .peer = peer});
}

int ncclRecv(void *data, size_t count, int dtype, int peer, struct nccl_comm *comm, struct cuda_stream *stream)
{
    return append(comm, stream,
                  (struct call){.kind = RECEIVE, .dst = data, .count = count, .dtype = dtype, .peer = peer});
}

int ncclBroadcast(const void *src, void *dst, size_t count, int dtype, int root, struct nccl_comm *comm,
                  struct cuda_stream *stream)
{
    return append(
        comm, stream,
        (struct call){.kind = BROADCAST, .src = src, .dst = dst, .count = count, .dtype = dtype, .peer = root});
}

int ncclAllGather(const void *src, void *dst, size_t count, int dtype, struct nccl_comm *comm,
                  struct cuda_stream *stream)
{
    return append(comm, stream,
                  (struct call){.kind = ALL_GATHER, .src = src, .dst = dst, .count = count, .dtype = dtype});
}

int ncclAllReduce(const void *src, void *dst, size_t count, int dtype, int op, struct nccl_comm *comm,
                  struct cuda_stream *stream)
{
    return append(comm, stream,
                  (struct call){.kind = ALL_REDUCE, .src = src, .dst = dst, .count = count, .dtype = dtype, .op = op});
}
