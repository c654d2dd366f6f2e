import Foundation
import Testing

@testable import Evenkeel

/// What the tests keep in records.
struct Note: Codable, Hashable, Sendable {
  var text: String
  var done: Bool?
}

/// A service, and a folder for the stores of its clients. Both go, and the clients too.
final class World: @unchecked Sendable {
  let stack: Stack
  let folder: URL
  private let lock = NSLock()
  private var clients: [EvenkeelClient] = []

  init(_ settings: [String]) throws {
    stack = try Stack(settings)
    folder = FileManager.default.temporaryDirectory.appending(path: "evenkeel-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  func config(_ name: String, device: String? = nil) -> EvenkeelConfig {
    EvenkeelConfig(
      url: stack.edge, accountId: "demo", storePath: folder.appending(path: name).path,
      stateDir: folder.appending(path: "\(device ?? name).state").path, durable: false, proxy: "none",
      requestsPerMinute: 180)
  }

  func client(_ config: EvenkeelConfig, token: @escaping TokenSource = { _ in "demo-token" }) async throws
    -> EvenkeelClient
  {
    let client = try await EvenkeelClient(config, token: token)
    lock.withLock { clients.append(client) }
    return client
  }

  /// One that runs and is up to date.
  func synced(_ name: String) async throws -> EvenkeelClient {
    let client = try await client(config(name))
    try client.start()
    try await client.reach { $0.state == .synced }
    return client
  }

  func end() async {
    for client in lock.withLock({ clients }) { await client.close() }
    stack.stop()
    try? FileManager.default.removeItem(at: folder)
  }
}

/// Runs it in a world of its own.
func inWorld(_ settings: [String] = [], _ body: (World) async throws -> Void) async throws {
  let world = try World(settings)
  do {
    try await body(world)
  } catch {
    await world.end()
    throw error
  }
  await world.end()
}

extension EvenkeelClient {
  var notes: Records<Note> { records(of: Note.self) }

  /// Waits for such a status. What takes too long is cancelled by the suite's limit.
  @discardableResult
  func reach(_ there: @Sendable (SyncStatus) -> Bool) async throws -> SyncStatus {
    for await status in statuses() where there(status) { return status }
    throw Trouble("never came; at last: \((try? status()).map { "\($0)" } ?? "closed")")
  }

  /// Waits until the record looks so.
  @discardableResult
  func look(at id: String, _ there: (Record<Note>?) -> Bool) async throws -> Record<Note>? {
    for try await record in try notes.observe(id) where there(record) { return record }
    throw Trouble("\(id) never looked so")
  }
}

extension Verdict {
  var acknowledged: Bool {
    if case .acknowledged = self { true } else { false }
  }
}

/// A value that several tasks share.
final class Shared<T: Sendable>: @unchecked Sendable {
  private let lock = NSLock()
  private var held: T

  init(_ value: T) {
    held = value
  }

  var value: T {
    get { lock.withLock { held } }
    set { lock.withLock { held = newValue } }
  }

  func update(_ change: (inout T) -> Void) {
    lock.withLock { change(&held) }
  }
}

func elapsed(_ work: () async throws -> Void) async rethrows -> Duration {
  let clock = ContinuousClock()
  return try await clock.measure { try await work() }
}
