// A client for the interop matrix, of JeroMQ. The commands are described in docs/interop.md.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.zeromq.ZContext;
import org.zeromq.ZMQ;

public final class Client {
    // What the library says of itself is the version of libzmq that it was made after.
    private static final String VERSION = System.getProperty("interop.version");
    private static final Map<String, ZMQ.Socket> SOCKETS = new HashMap<>();

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    private static ZMQ.Socket open(ZContext context, List<String> words) {
        String kind = words.get(0);
        for (String option : words.subList(2, words.size())) {
            if (!option.startsWith("identity=")) {
                throw new UnsupportedOperationException(
                        "JeroMQ " + VERSION + " has no option for " + option.replaceAll("=.*", ""));
            }
        }
        int type = kind.equals("REQ") ? ZMQ.REQ : kind.equals("DEALER") ? ZMQ.DEALER : ZMQ.SUB;
        ZMQ.Socket socket = context.createSocket(type);
        socket.setLinger(0);
        for (String option : words.subList(2, words.size())) {
            socket.setIdentity(ascii(option.substring("identity=".length())));
        }
        socket.connect(words.get(1));
        return socket;
    }

    private static void send(ZMQ.Socket socket, List<String> paths) throws Exception {
        for (int n = 0; n < paths.size(); n++) {
            byte[] frame = Files.readAllBytes(Path.of(paths.get(n)));
            if (!socket.send(frame, n + 1 < paths.size() ? ZMQ.SNDMORE : 0)) {
                throw new IllegalStateException("send failed");
            }
        }
    }

    private static int receive(ZMQ.Socket socket, int timeoutMs, String directory) throws Exception {
        socket.setReceiveTimeOut(timeoutMs);
        int number = 0;
        do {
            byte[] frame = socket.recv();
            if (frame == null) {
                return 0;
            }
            Files.write(Path.of(directory, Integer.toString(number++)), frame);
        } while (socket.hasReceiveMore());
        return number;
    }

    private static String run(ZContext context, String command, List<String> words) throws Exception {
        if (command.equals("version")) {
            return ",\"detail\":\"JeroMQ " + VERSION + ", Java "
                    + System.getProperty("java.version") + "\"";
        }
        String name = words.get(0);
        List<String> rest = words.subList(1, words.size());
        switch (command) {
            case "open":
                SOCKETS.put(name, open(context, rest));
                return "";
            case "subscribe":
                SOCKETS.get(name).subscribe(ascii(rest.get(0)));
                return "";
            case "unsubscribe":
                SOCKETS.get(name).unsubscribe(ascii(rest.get(0)));
                return "";
            case "send":
                send(SOCKETS.get(name), rest);
                return "";
            case "receive":
                return ",\"frames\":" + receive(SOCKETS.get(name), Integer.parseInt(rest.get(0)), rest.get(1));
            case "close":
                context.destroySocket(SOCKETS.remove(name));
                return "";
            default:
                throw new IllegalArgumentException("unknown command " + command);
        }
    }

    public static void main(String[] args) throws Exception {
        ZContext context = new ZContext();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            List<String> words = Arrays.asList(line.split(" "));
            String step = words.get(0);
            try {
                String answer = run(context, step, words.subList(1, words.size()));
                System.out.println("{\"step\":\"" + step + "\",\"ok\":true" + answer + "}");
            } catch (Exception error) {
                boolean unsupported = error instanceof UnsupportedOperationException;
                String detail = (unsupported ? error.getMessage() : error.toString()).replaceAll("[\"\\\\]", "'");
                System.out.println("{\"step\":\"" + step + "\",\"ok\":false,\"unsupported\":" + unsupported
                        + ",\"detail\":\"" + detail + "\"}");
            }
        }
        System.exit(0);
    }
}
