/* A client for the interop matrix, of czmq. The commands are described in docs/interop.md. */

#include <czmq.h>

#define SOCKETS_MAX 16
#define WORDS_MAX 16

static struct {
    char name[32];
    zsock_t *socket;
} sockets[SOCKETS_MAX];

static char failure[256];

static bool fail(const char *what, const char *value)
{
    snprintf(failure, sizeof failure, "%s %s", what, value);
    return false;
}

/* The place of a socket; with an empty name, a free place. */
static int find(const char *name)
{
    for (int n = 0; n < SOCKETS_MAX; n++)
        if (strcmp(sockets[n].name, name) == 0)
            return n;
    return -1;
}

/* Gives a socket the keys of these files: its own, a comma, the server's. */
static bool set_keys(zsock_t *socket, char *files)
{
    char *server_file = strchr(files, ',');
    if (!server_file)
        return false;
    *server_file++ = 0;
    zcert_t *own = zcert_load(files);
    zcert_t *server = zcert_load(server_file);
    if (own && server) {
        zcert_apply(own, socket);
        zsock_set_curve_serverkey(socket, zcert_public_txt(server));
    }
    bool loaded = own && server;
    zcert_destroy(&own);
    zcert_destroy(&server);
    return loaded;
}

static bool open_socket(char **words, int count)
{
    int place = find("");
    if (place < 0 || count < 4)
        return fail("no room for", words[1]);
    int type = streq(words[2], "REQ") ? ZMQ_REQ : streq(words[2], "DEALER") ? ZMQ_DEALER : ZMQ_SUB;
    zsock_t *socket = zsock_new(type);
    zsock_set_linger(socket, 0);
    for (int n = 4; n < count; n++) {
        char *value = strchr(words[n], '=');
        if (value)
            *value++ = 0;
        if (value && streq(words[n], "heartbeat")) {
            int interval_ms = atoi(value);
            zsock_set_heartbeat_ivl(socket, interval_ms);
            zsock_set_heartbeat_ttl(socket, 10 * interval_ms);
            zsock_set_heartbeat_timeout(socket, 10 * interval_ms);
        } else if (streq(words[n], "correlate")) {
            zsock_set_req_correlate(socket, 1);
            zsock_set_req_relaxed(socket, 1);
        } else if (value && streq(words[n], "identity")) {
            zsock_set_identity(socket, value);
        } else if (value && streq(words[n], "curve")) {
            if (!set_keys(socket, value)) {
                zsock_destroy(&socket);
                return fail("cannot load the keys of", value);
            }
        } else {
            zsock_destroy(&socket);
            return fail("unknown option", words[n]);
        }
    }
    if (zsock_connect(socket, "%s", words[3]) != 0) {
        zsock_destroy(&socket);
        return fail("cannot connect to", words[3]);
    }
    snprintf(sockets[place].name, sizeof sockets[place].name, "%s", words[1]);
    sockets[place].socket = socket;
    return true;
}

static bool send_files(zsock_t *socket, char **paths, int count)
{
    zmsg_t *message = zmsg_new();
    for (int n = 0; n < count; n++) {
        FILE *file = fopen(paths[n], "rb");
        if (!file) {
            zmsg_destroy(&message);
            return fail("cannot read", paths[n]);
        }
        fseek(file, 0, SEEK_END);
        size_t size = (size_t) ftell(file);
        rewind(file);
        zframe_t *frame = zframe_new(NULL, size);
        bool whole = fread(zframe_data(frame), 1, size, file) == size;
        fclose(file);
        zmsg_append(message, &frame);
        if (!whole) {
            zmsg_destroy(&message);
            return fail("cannot read", paths[n]);
        }
    }
    if (zmsg_send(&message, socket) != 0) {
        zmsg_destroy(&message);
        return fail("zmsg_send:", zmq_strerror(errno));
    }
    return true;
}

/* The number of frames; 0 when none came in time. */
static int receive_files(zsock_t *socket, int timeout_ms, const char *directory)
{
    zsock_set_rcvtimeo(socket, timeout_ms);
    zmsg_t *message = zmsg_recv(socket);
    if (!message)
        return 0;
    int number = 0;
    zframe_t *frame;
    while ((frame = zmsg_pop(message))) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%d", directory, number++);
        FILE *file = fopen(path, "wb");
        if (file) {
            fwrite(zframe_data(frame), 1, zframe_size(frame), file);
            fclose(file);
        }
        zframe_destroy(&frame);
    }
    zmsg_destroy(&message);
    return number;
}

static bool run(char **words, int count, char *answer, size_t size)
{
    if (count == 1 && streq(words[0], "version")) {
        int major, minor, patch;
        zmq_version(&major, &minor, &patch);
        snprintf(answer, size, ",\"detail\":\"czmq %d.%d.%d, libzmq %d.%d.%d\"", CZMQ_VERSION_MAJOR,
                 CZMQ_VERSION_MINOR, CZMQ_VERSION_PATCH, major, minor, patch);
        return true;
    }
    if (count < 2)
        return fail("unknown command", words[0]);
    if (streq(words[0], "open"))
        return open_socket(words, count);
    int place = find(words[1]);
    if (place < 0)
        return fail("no socket", words[1]);
    zsock_t *socket = sockets[place].socket;
    if (streq(words[0], "close")) {
        zsock_destroy(&sockets[place].socket);
        sockets[place].name[0] = 0;
        return true;
    }
    if (count < 3)
        return fail("unknown command", words[0]);
    if (streq(words[0], "subscribe"))
        zsock_set_subscribe(socket, words[2]);
    else if (streq(words[0], "unsubscribe"))
        zsock_set_unsubscribe(socket, words[2]);
    else if (streq(words[0], "send"))
        return send_files(socket, words + 2, count - 2);
    else if (streq(words[0], "receive") && count == 4)
        snprintf(answer, size, ",\"frames\":%d", receive_files(socket, atoi(words[2]), words[3]));
    else
        return fail("unknown command", words[0]);
    return true;
}

int main(void)
{
    zsys_init();
    static char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        char *words[WORDS_MAX];
        int count = 0;
        for (char *word = strtok(line, " \n"); word && count < WORDS_MAX; word = strtok(NULL, " \n"))
            words[count++] = word;
        if (count == 0)
            continue;
        char answer[256] = "";
        if (run(words, count, answer, sizeof answer))
            printf("{\"step\":\"%s\",\"ok\":true%s}\n", words[0], answer);
        else
            printf("{\"step\":\"%s\",\"ok\":false,\"detail\":\"%s\"}\n", words[0], failure);
        fflush(stdout);
    }
    for (int n = 0; n < SOCKETS_MAX; n++)
        zsock_destroy(&sockets[n].socket);
    return 0;
}
