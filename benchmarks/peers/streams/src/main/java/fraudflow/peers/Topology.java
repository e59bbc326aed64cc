package fraudflow.peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Three windows and three rules a transaction. Arguments: memory|rocksdb|dsl, bootstrap, input, output, folder, limits. */
public final class Topology {
    private static final long MINUTE = 60_000;
    private static final long FIVE_MINUTES = 300_000;
    private static final long HOUR = 3_600_000;
    private static final String STORE = "hours";
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final ObjectReader READ = JSON.readerFor(Transaction.class);

    /** A message. */
    public static final class Transaction {
        public String transaction_id;
        public String customer_id;
        public double amount;
        public String location;
        public String timestamp;
    }

    /** An alert. */
    public record Alert(String transaction_id, List<String> rules) {}

    private Topology() {}

    public static void main(String[] arguments) {
        String work = arguments[0];
        int mostInAMinute = Integer.parseInt(arguments[5]);
        long mostInAnHour = 100L * Integer.parseInt(arguments[6]);
        int mostLocations = Integer.parseInt(arguments[7]);

        StreamsBuilder builder = new StreamsBuilder();
        var messages = builder.stream(arguments[2], Consumed.with(Serdes.String(), Serdes.ByteArray()));
        if (work.equals("dsl")) {
            messages.groupByKey(Grouped.with(Serdes.String(), Serdes.ByteArray()))
                    .windowedBy(SlidingWindows.ofTimeDifferenceWithNoGrace(Duration.ofMillis(MINUTE - 1)))
                    .count()
                    .toStream()
                    .filter((window, count) -> count != null && count > mostInAMinute)
                    .map((window, count) -> new org.apache.kafka.streams.KeyValue<>(
                            window.key(), write(new Alert(window.key() + "-" + window.window().end(), List.of("velocity")))))
                    .to(arguments[3], Produced.with(Serdes.String(), Serdes.ByteArray()));
        } else {
            KeyValueBytesStoreSupplier supplier = work.equals("memory")
                    ? Stores.inMemoryKeyValueStore(STORE)
                    : Stores.persistentKeyValueStore(STORE);
            builder.addStateStore(
                    Stores.keyValueStoreBuilder(supplier, Serdes.String(), History.serde()).withCachingEnabled());
            messages.process(() -> new Judge(mostInAMinute, mostInAnHour, mostLocations), STORE)
                    .to(arguments[3], Produced.with(Serdes.String(), Serdes.ByteArray()));
        }
        KafkaStreams streams = new KafkaStreams(builder.build(), properties(arguments));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(5))));
        streams.start();
    }

    private static Properties properties(String[] arguments) {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, "streams-" + arguments[3]);
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[1]);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        // Its own defaults commit each 30 s and keep 10 MB of cache; a cache that holds all users spares the most work.
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 256L << 20);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        if (arguments[0].equals("dsl")) {
            properties.put(
                    StreamsConfig.DEFAULT_TIMESTAMP_EXTRACTOR_CLASS_CONFIG, EventTime.class.getName());
        }
        return properties;
    }

    static Transaction read(byte[] value) {
        try {
            return READ.readValue(value);
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    static byte[] write(Alert alert) {
        try {
            return JSON.writeValueAsBytes(alert);
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    /** The message's own time, for the windows of the DSL. */
    public static final class EventTime implements org.apache.kafka.streams.processor.TimestampExtractor {
        @Override
        public long extract(org.apache.kafka.clients.consumer.ConsumerRecord<Object, Object> record, long partition) {
            return Instant.parse(read((byte[]) record.value()).timestamp).toEpochMilli();
        }
    }

    private static final class Judge implements Processor<String, byte[], String, byte[]> {
        private final int mostInAMinute;
        private final long mostInAnHour;
        private final int mostLocations;
        private final java.util.HashMap<String, Integer> places = new java.util.HashMap<>();
        private ProcessorContext<String, byte[]> context;
        private KeyValueStore<String, History> store;

        Judge(int mostInAMinute, long mostInAnHour, int mostLocations) {
            this.mostInAMinute = mostInAMinute;
            this.mostInAnHour = mostInAnHour;
            this.mostLocations = mostLocations;
        }

        @Override
        public void init(ProcessorContext<String, byte[]> context) {
            this.context = context;
            this.store = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<String, byte[]> record) {
            Transaction transaction = read(record.value());
            long now = Instant.parse(transaction.timestamp).toEpochMilli();
            History history = store.get(transaction.customer_id);
            if (history == null) {
                history = new History();
            }
            int place = places.computeIfAbsent(transaction.location, location -> places.size());
            history.add(now, (int) Math.round(transaction.amount * 100), place, now - HOUR);
            store.put(transaction.customer_id, history);

            int minute = 0;
            long spent = 0;
            long seen = 0;
            for (int i = 0; i < history.size; i++) {
                spent += history.cents[i];
                if (history.times[i] > now - FIVE_MINUTES) {
                    seen |= 1L << history.places[i];
                    if (history.times[i] > now - MINUTE) {
                        minute++;
                    }
                }
            }
            List<String> rules = new ArrayList<>(3);
            if (minute > mostInAMinute) {
                rules.add("velocity");
            }
            if (spent > mostInAnHour) {
                rules.add("spent");
            }
            if (Long.bitCount(seen) > mostLocations) {
                rules.add("places");
            }
            if (!rules.isEmpty()) {
                context.forward(record.withValue(write(new Alert(transaction.transaction_id, rules))));
            }
        }
    }
}
