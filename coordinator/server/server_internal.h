/* SPDX-License-Identifier: Apache-2.0 */
/* State of the coordinator's shell: one machine, its connections, children, journal and rendezvous directory. */
#ifndef LOCKSTEP_COORDINATOR_SERVER_SERVER_INTERNAL_H
#define LOCKSTEP_COORDINATOR_SERVER_SERVER_INTERNAL_H

#include "coordinator/machine/machine.h"
#include "coordinator/server/server.h"
#include "coordinator/store/journal.h"
#include "core/event/event.h"
#include "core/wire/channel.h"

#include <stdatomic.h>

#define LSI_AUTH_MS 5000    /* a connection must have proved the secret by then */
#define LSI_AUTH_BYTES 4096 /* and sent no more than this */
#define LSI_STRANGERS 256   /* connections that have not joined, at once; the oldest gives way */
#define LSI_STOP_MS 60000   /* an orderly stop, checkpoint included */
#define LSI_LEAVE_MS 2000   /* after the end: workers close their connections */
#define LSI_KILL_MS 3000    /* between SIGTERM and SIGKILL */
#define LSI_GIVE_UP_MS 5000 /* after SIGKILL */

enum lsi_stage { LSI_HELLO, LSI_JOIN, LSI_DECIDING, LSI_MEMBER };

struct lsi_connection {
    struct ls_server *server;
    struct lsi_connection *next;
    struct ls_stream *stream; /* NULL: it is gone, and the machine has yet to hear of it */
    struct ls_channel channel;
    struct ls_wire_transcript transcript;
    enum lsi_stage stage;
    uint64_t id;
    uint64_t worker;
    uint32_t incarnation;
    size_t bytes; /* before it joined */
    int64_t since_ms;
    char address[LS_ADDRESS_TEXT];
    char closed_why[128];
};

struct lsi_child {
    struct ls_server *server;
    struct ls_child *watch; /* NULL: ended */
    pid_t pid;
    int index;
};

struct ls_server {
    struct ls_server_options options;
    struct ls_loop *loop;
    struct ls_listener *listener;
    struct ls_timer *timer;
    struct ls_machine *machine;
    struct ls_journal *journal;
    struct lsi_connection *connections;
    uint64_t next_connection;
    int stranger_count;
    struct lsi_child *children;
    int child_count;
    char *transport;
    struct ls_message *job; /* JOB for workers that bring none; NULL: there is none, and why */
    char no_job[256];
    struct ls_workdir *workdir; /* of the rendezvous, removed as soon as the group has formed */
    char rendezvous[108];
    atomic_bool stop_wanted;
    bool stop_told;
    bool feeding; /* inside a step: what breaks meanwhile is told afterwards */
    bool reading; /* inside a connection's frames: none is freed meanwhile */
    uint16_t port;
    bool ledger_broken, ledger_told; /* a record that others rely on could not be written */
    char ledger_error[LS_WIRE_SENTENCE];
    /* The end. */
    bool over;
    int64_t over_ms;
    int signalled; /* 0, then SIGTERM, then SIGKILL */
    int64_t signalled_ms;
    enum ls_status result;
    char *text; /* the error's sentence */
    char *summary;
};

int64_t lsi_now_ms(void);
/* Gives the machine an event and performs what it decides, and whatever follows from that. */
void lsi_feed(struct ls_server *server, const struct ls_event *event);
/* Performs the actions of one step. */
void lsi_perform(struct ls_server *server, const struct ls_actions *actions);
/* Sets the timer to the next thing that is due. */
void lsi_schedule(struct ls_server *server);
void lsi_say(struct ls_server *server, const char *sentence);

/* A new connection: the start of the handshake. */
void lsi_connection_accept(void *state, struct ls_stream *stream);
/* Sends a message; a connection that cannot take it is marked gone. */
void lsi_connection_send(struct lsi_connection *connection, const struct ls_message *message);
void lsi_connection_refuse(struct lsi_connection *connection, enum ls_status status, const char *sentence);
/* Marks it gone: nothing more is read; the stream is closed (ended: after its last words are sent). */
void lsi_connection_drop(struct lsi_connection *connection, const char *why, bool ended);
/* Frees the gone ones, telling the machine of members among them. */
void lsi_connections_sweep(struct ls_server *server);
/* Closes strangers that took too long; returns when the next is due (LS_MACHINE_NEVER). */
int64_t lsi_connections_expire(struct ls_server *server, int64_t now_ms);
struct lsi_connection *lsi_connection_of_worker(struct ls_server *server, uint64_t worker);
struct lsi_connection *lsi_connection_find(struct ls_server *server, uint64_t id);
int lsi_connections_open(const struct ls_server *server);
void lsi_connections_close(struct ls_server *server);

/* One message of a connection in its stage. */
void lsi_handle_hello(struct lsi_connection *connection, const struct ls_message *message);
void lsi_handle_join(struct lsi_connection *connection, const struct ls_message *message);
void lsi_handle_job_request(struct lsi_connection *connection, const struct ls_message *message);
void lsi_handle_member(struct lsi_connection *connection, const struct ls_message *message,
                       const struct ls_frame_info *info);

/* Makes the JOB message of the options; one that cannot be sent is a sentence in no_job. */
enum ls_status lsi_job_make(struct ls_server *server, struct ls_error *err);
void lsi_job_free(struct ls_server *server);

enum ls_status lsi_children_watch(struct ls_server *server, _Atomic pid_t *children, int count, struct ls_error *err);
/* Index of the watched child with this process id, or that was started for this worker index; -1. */
int lsi_child_of(const struct ls_server *server, const struct ls_wire_join *join);
int lsi_children_alive(const struct ls_server *server);
void lsi_children_signal(struct ls_server *server, int signal);
/* One that was given up, by index (-1: none): whatever it still does, it does not do it for this job. */
void lsi_child_kill(struct ls_server *server, int index);
void lsi_children_close(struct ls_server *server);

/* A fresh 0700 directory for the shared-memory socket, whose path fits a Unix address. Directories that a killed
 * coordinator left are removed on the way. */
enum ls_status lsi_rendezvous_make(struct ls_server *server, struct ls_error *err);
void lsi_rendezvous_remove(struct ls_server *server);
enum ls_status lsi_ledger_open(struct ls_server *server, uint64_t *last_generation, struct ls_error *err);
/* Adds a record; durable: synced before it returns, and a failure ends the job. */
void lsi_ledger_add(struct ls_server *server, const struct ls_record *record, bool durable);
void lsi_ledger_sync(struct ls_server *server);

/* After the end: waits for the workers, sends signals, and stops the loop when nobody is left. Returns when it wants
 * to be called again (LS_MACHINE_NEVER once the loop is stopped). */
int64_t lsi_wind_down(struct ls_server *server, int64_t now_ms);

#endif
