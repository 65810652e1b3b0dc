package suites;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.ByteBuffer;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.requests.AbstractRequest;
import org.apache.kafka.common.requests.AbstractResponse;
import org.apache.kafka.common.requests.RequestHeader;

/**
 * One connection that sends single requests in a version of our choice: for what the stock client would never send
 * (the old transaction protocol, a repeated request, a zombie's request), with the client's own encoding.
 */
final class Wire implements AutoCloseable {
  private static final int READ_TIMEOUT_MS = 20_000;

  private final Socket socket;
  private final DataOutputStream out;
  private final DataInputStream in;
  private int correlation;

  Wire() throws IOException {
    int colon = Cluster.at.lastIndexOf(':');
    socket = new Socket(Cluster.at.substring(0, colon), Integer.parseInt(Cluster.at.substring(colon + 1)));
    socket.setSoTimeout(READ_TIMEOUT_MS);
    out = new DataOutputStream(socket.getOutputStream());
    in = new DataInputStream(socket.getInputStream());
  }

  @SuppressWarnings("unchecked")
  <R extends AbstractResponse> R ask(AbstractRequest request) throws IOException {
    RequestHeader header = new RequestHeader(request.apiKey(), request.version(), "suite", ++correlation);
    send(request.serializeWithHeader(header));
    return (R) AbstractResponse.parseResponse(receive(), header);
  }

  /** A request of any header and body bytes; the answer's bytes after its length. */
  ByteBuffer raw(ApiKeys key, int version, byte[] body) throws IOException {
    ByteBuffer frame = ByteBuffer.allocate(10 + body.length);
    frame.putShort(key.id).putShort((short) version).putInt(++correlation).putShort((short) -1).put(body).flip();
    send(frame);
    return receive();
  }

  private void send(ByteBuffer frame) throws IOException {
    byte[] bytes = new byte[frame.remaining()];
    frame.get(bytes);
    out.writeInt(bytes.length);
    out.write(bytes);
    out.flush();
  }

  private ByteBuffer receive() throws IOException {
    byte[] answer = new byte[in.readInt()];
    in.readFully(answer);
    return ByteBuffer.wrap(answer);
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }
}
