/* SPDX-License-Identifier: Apache-2.0 */
/* The shell around the machine: opens everything, runs the loop, feeds events, keeps the timer. */
#include "coordinator/server/server_internal.h"

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/descriptors.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/job/transport.h"

#include <string.h>

int64_t lsi_now_ms(void)
{
    return (int64_t)(ls_clock_now_ns() / 1000000);
}

void lsi_say(struct ls_server *server, const char *sentence)
{
    ls_log(LS_LOG_INFO, "coordinator", "%s", sentence);
    if (server->options.on_log != NULL)
        server->options.on_log(server->options.state, sentence);
}

void lsi_schedule(struct ls_server *server)
{
    int64_t now = lsi_now_ms();
    int64_t due = server->over ? lsi_wind_down(server, now) : ls_machine_deadline(server->machine);
    int64_t strangers = lsi_connections_expire(server, now);

    if (strangers < due)
        due = strangers;
    if (due == LS_MACHINE_NEVER)
        ls_timer_stop(server->timer);
    else
        ls_timer_start(server->timer, due > now ? (uint64_t)(due - now) : 0);
}

static void step(struct ls_server *server, const struct ls_event *event)
{
    struct ls_actions actions;
    enum ls_status status = ls_machine_step(server->machine, event, lsi_now_ms(), &actions);

    if (status == LS_OK) {
        lsi_perform(server, &actions);
        return;
    }
    server->over = true;
    server->over_ms = lsi_now_ms();
    server->result = status;
    for (struct lsi_connection *c = server->connections; c != NULL; c = c->next)
        lsi_connection_drop(c, "the coordinator is out of memory", false);
}

void lsi_feed(struct ls_server *server, const struct ls_event *event)
{
    if (server->over && server->result == LS_ENOMEM)
        return;
    if (server->feeding)
        return; /* only what a connection's end would tell, and the sweep below tells that */
    server->feeding = true;
    step(server, event);
    if (server->ledger_broken && !server->ledger_told) {
        struct ls_event broken = {.kind = LS_EVENT_BROKEN};

        server->ledger_told = true;
        broken.said.status = LS_EIO;
        broken.said.text = server->ledger_error;
        step(server, &broken);
    }
    server->feeding = false;
    lsi_connections_sweep(server);
}

static void on_timer(void *state)
{
    struct ls_server *server = state;
    struct ls_event tick = {.kind = LS_EVENT_TICK};

    if (!server->over)
        lsi_feed(server, &tick);
    lsi_schedule(server);
}

static void on_wake(void *state)
{
    struct ls_server *server = state;
    struct ls_event stop = {.kind = LS_EVENT_STOP};

    if (atomic_load(&server->stop_wanted) && !server->stop_told) {
        server->stop_told = true;
        lsi_feed(server, &stop);
    }
    lsi_schedule(server);
}

static enum ls_status check_options(const struct ls_server_options *options, struct ls_error *err)
{
    if (options->transport == NULL || ls_transport_find(options->transport) != NULL)
        return LS_OK;
    return ls_error_set(err, LS_EINVAL, "there is no transport \"%s\"; use " LS_TRANSPORTS_TEXT, options->transport);
}

static enum ls_status make_machine(struct ls_server *server, uint64_t last_generation, struct ls_error *err)
{
    struct ls_machine_options options = {.workers = server->options.workers,
                                         .known_answers = server->options.known_answers,
                                         .last_generation = last_generation,
                                         .join_deadline_ms = server->options.join_deadline_ms,
                                         .heartbeat_ms = server->options.heartbeat_ms,
                                         .stop_deadline_ms = LSI_STOP_MS};

    (void)ls_str_into(options.fingerprint, sizeof options.fingerprint, server->options.fingerprint);
    (void)ls_str_into(options.transport, sizeof options.transport, server->transport);
    (void)ls_str_into(options.rendezvous, sizeof options.rendezvous, server->rendezvous);
    ls_host_name(options.host);
    return ls_machine_create(&options, lsi_now_ms(), &server->machine, err);
}

/* A worker that finds no place could only say that nobody answers. */
static enum ls_status check_room(const struct ls_server *server, struct ls_error *err)
{
    if (ls_descriptors_spare(server->options.workers))
        return LS_OK;
    return ls_error_set(
        err, LS_EIO,
        "the coordinator may not open as many more sockets as there are workers (%d); raise its limit of "
        "open files (ulimit -n)",
        server->options.workers);
}

static enum ls_status open_all(struct ls_server *server, struct ls_error *err)
{
    const struct ls_server_options *options = &server->options;
    uint64_t last_generation = 0;
    enum ls_status status = ls_loop_create(&server->loop, err);

    if (status == LS_OK)
        status = ls_timer_create(server->loop, on_timer, server, &server->timer, err);
    if (status == LS_OK)
        status = ls_listener_open(server->loop, options->listen, lsi_connection_accept, server, &server->listener, err);
    if (status == LS_OK)
        status = lsi_rendezvous_make(server, err);
    if (status == LS_OK)
        status = lsi_ledger_open(server, &last_generation, err);
    if (status == LS_OK)
        status = make_machine(server, last_generation, err);
    if (status == LS_OK)
        status = lsi_job_make(server, err);
    if (status == LS_OK)
        status = check_room(server, err);
    return status;
}

enum ls_status ls_server_open(const struct ls_server_options *options, struct ls_server **server, struct ls_error *err)
{
    enum ls_status status = check_options(options, err);
    struct ls_server *made;

    if (status != LS_OK)
        return status;
    made = ls_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the coordinator");
    made->options = *options;
    if (made->options.join_deadline_ms <= 0)
        made->options.join_deadline_ms = 30000;
    if (made->options.heartbeat_ms <= 0)
        made->options.heartbeat_ms = 250;
    made->transport = ls_str_copy(options->transport == NULL ? "auto" : options->transport);
    if (made->transport == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory for the coordinator");
    else
        status = open_all(made, err);
    if (status != LS_OK) {
        ls_server_close(made);
        return status;
    }
    made->port = ls_listener_port(made->listener);
    made->options.listen = NULL; /* borrowed only until here */
    made->options.directory = NULL;
    made->options.job_path = NULL;
    made->options.job_overrides = NULL;
    made->options.job_model_text = NULL;
    ls_loop_on_wake(made->loop, on_wake, made);
    *server = made;
    return LS_OK;
}

uint16_t ls_server_port(const struct ls_server *server)
{
    return server->port;
}

void ls_server_set_children(struct ls_server *server, _Atomic pid_t *children, int count)
{
    struct ls_error err = LS_ERROR_INIT;

    if (lsi_children_watch(server, children, count, &err) != LS_OK)
        lsi_say(server, err.message);
}

enum ls_status ls_server_run(struct ls_server *server, char **summary, struct ls_error *err)
{
    ls_loop_wake(server->loop); /* sets the timer, and hears of a stop that came before */
    ls_loop_run(server->loop);
    if (summary != NULL) {
        *summary = server->summary;
        server->summary = NULL;
    }
    if (server->result != LS_OK)
        return ls_error_set(err, server->result, "%s",
                            server->text == NULL ? ls_status_sentence(server->result) : server->text);
    return LS_OK;
}

void ls_server_stop(struct ls_server *server)
{
    atomic_store(&server->stop_wanted, true);
    ls_loop_wake(server->loop);
}

void ls_server_close(struct ls_server *server)
{
    if (server == NULL)
        return;
    lsi_connections_close(server);
    lsi_children_close(server);
    ls_listener_close(server->listener);
    ls_loop_destroy(server->loop);
    ls_journal_close(server->journal);
    lsi_rendezvous_remove(server);
    ls_machine_destroy(server->machine);
    lsi_job_free(server);
    ls_free(server->transport);
    ls_free(server->text);
    ls_free(server->summary);
    explicit_bzero(server->options.secret, sizeof server->options.secret);
    ls_free(server);
}
