package fraudflow.peers;

import java.nio.ByteBuffer;
import java.util.Arrays;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;

/** The trailing hour of one user: time, cents and location (a small number) of each transaction, oldest first. */
final class History {
    private static final int RECORD_BYTES = Long.BYTES + Integer.BYTES + Integer.BYTES;

    long[] times = new long[8];
    int[] cents = new int[8];
    int[] places = new int[8];
    int size;

    void add(long time, int amount, int place, long keepAfter) {
        int gone = 0;
        while (gone < size && times[gone] <= keepAfter) {
            gone++;
        }
        if (gone > 0) {
            System.arraycopy(times, gone, times, 0, size - gone);
            System.arraycopy(cents, gone, cents, 0, size - gone);
            System.arraycopy(places, gone, places, 0, size - gone);
            size -= gone;
        }
        if (size == times.length) {
            times = Arrays.copyOf(times, 2 * size);
            cents = Arrays.copyOf(cents, 2 * size);
            places = Arrays.copyOf(places, 2 * size);
        }
        times[size] = time;
        cents[size] = amount;
        places[size] = place;
        size++;
    }

    static Serde<History> serde() {
        Serializer<History> write = (topic, history) -> {
            if (history == null) {
                return null;
            }
            ByteBuffer buffer = ByteBuffer.allocate(history.size * RECORD_BYTES);
            for (int i = 0; i < history.size; i++) {
                buffer.putLong(history.times[i]).putInt(history.cents[i]).putInt(history.places[i]);
            }
            return buffer.array();
        };
        Deserializer<History> read = (topic, bytes) -> {
            if (bytes == null) {
                return null;
            }
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            History history = new History();
            history.size = bytes.length / RECORD_BYTES;
            int room = Math.max(8, history.size + history.size / 2);
            history.times = new long[room];
            history.cents = new int[room];
            history.places = new int[room];
            for (int i = 0; i < history.size; i++) {
                history.times[i] = buffer.getLong();
                history.cents[i] = buffer.getInt();
                history.places[i] = buffer.getInt();
            }
            return history;
        };
        return Serdes.serdeFrom(write, read);
    }
}
