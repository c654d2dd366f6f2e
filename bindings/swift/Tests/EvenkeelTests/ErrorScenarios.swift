import EvenkeelFFI
import Foundation
import Testing

@testable import Evenkeel

extension Scenarios {
  @Test("errors") func errors() async throws {
    // The table: every error of the core has a case of its own here, with a text and something to do.
    let status = try await anyStatus()
    let failure = FailureInfo(
      cause: .deviceRevoked, layer: .account, httpStatus: 403, code: "device_revoked", retryAfterMs: nil,
      text: "this device was revoked")
    let (r, p) = ("because", "/some/where")
    let core: [(String, [(any Error, (any EvenkeelError)?)])] = [
      ("OpenError", [
        (FFI.Open.Url(reason: r), Open.url(reason: r)), (FFI.Open.DeviceId, Open.deviceId),
        (FFI.Open.Setting(name: p, reason: r), Open.setting(name: p, reason: r)),
        (FFI.Open.Certificate(reason: r), Open.certificate(reason: r)), (FFI.Open.Proxy, Open.proxy),
        (FFI.Open.Network(reason: r), Open.network(reason: r)),
        (FFI.Open.StateCorrupt(path: p, reason: r), Open.stateCorrupt(path: p, reason: r)),
        (FFI.Open.StateUnusable(path: p, reason: r), Open.stateUnusable(path: p, reason: r)),
        (FFI.Open.WrongAccount, Open.wrongAccount), (FFI.Open.NotAStore(path: p), Open.notAStore(path: p)),
        (FFI.Open.NewerStore(found: 2, known: 1), Open.newerStore(found: 2, known: 1)),
        (FFI.Open.StoreCorrupt(reason: r), Open.storeCorrupt(reason: r)), (FFI.Open.StoreBusy, Open.storeBusy),
        (FFI.Open.StoreFull, Open.storeFull),
        (FFI.Open.StoreUnusable(path: p, reason: r), Open.storeUnusable(path: p, reason: r)),
        (FFI.Open.Internal(reason: r), Open.internal(reason: r)),
      ]),
      ("ClientError", [
        (FFI.Client.Closed, ClientError.closed), (FFI.Client.Cancelled, nil),
        (FFI.Client.Unfinished(left: ["pull"]), ClientError.unfinished(left: ["pull"])),
        (FFI.Client.Internal(reason: r), ClientError.internal(reason: r)),
      ]),
      ("DataError", [
        (FFI.Data.OutboxFull(kept: 3), Bad.outboxFull(kept: 3)), (FFI.Data.Id, Bad.id),
        (FFI.Data.NotFound, Bad.notFound), (FFI.Data.Json(reason: r), Bad.json(reason: r)),
        (FFI.Data.Full, Bad.full), (FFI.Data.Corrupt(reason: r), Bad.corrupt(reason: r)),
        (FFI.Data.Closed, Bad.closed), (FFI.Data.Suspended, Bad.suspended), (FFI.Data.Busy, Bad.busy),
        (FFI.Data.Cancelled, nil), (FFI.Data.Internal(reason: r), Bad.internal(reason: r)),
      ]),
      ("SyncOnceError", [
        (FFI.Once.Deadline(status: status), Once.deadline(status: status)),
        (FFI.Once.Failed(status: status), Once.failed(status: status)), (FFI.Once.Interrupted, Once.interrupted),
        (FFI.Once.Cancelled, nil), (FFI.Once.Closed, Once.closed),
        (FFI.Once.Internal(reason: r), Once.internal(reason: r)),
      ]),
      ("RequestError", [
        (FFI.Request.Suspended, Request.suspended),
        (FFI.Request.Held(waitMs: 5), Request.held(wait: .milliseconds(5))),
        (FFI.Request.Failed(failure: failure), Request.failed(failure)), (FFI.Request.Cancelled, nil),
        (FFI.Request.Closed, Request.closed), (FFI.Request.Internal(reason: r), Request.internal(reason: r)),
      ]),
      ("AiError", [
        (FFI.Ai.NotConnected, Ai.notConnected),
        (FFI.Ai.Held(waitMs: 5, cause: .rateLimited), Ai.held(wait: .milliseconds(5), cause: .rateLimited)),
        (FFI.Ai.Failed(failure: failure, attempts: 3), Ai.failed(failure, attempts: 3)), (FFI.Ai.Cancelled, nil),
        (FFI.Ai.Closed, Ai.closed), (FFI.Ai.Internal(reason: r), Ai.internal(reason: r)),
      ]),
    ]
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appending(path: "../../../ffi/src/errors").standardized
    let sources = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
    let known = try variants(in: sources.map { try String(contentsOf: $0, encoding: .utf8) }.joined(separator: "\n"))
    #expect(known.keys.sorted() == core.map(\.0).sorted())
    for (type, errors) in core {
      #expect(errors.map { caseName($0.0) } == known[type], "\(type) is complete, in the core's order")
      var said = Set<String>()
      for (error, expected) in errors {
        guard let expected else {
          #expect(own(error) is CancellationError)
          continue
        }
        let mine = try #require(own(error) as? any EvenkeelError)
        let alike = same(mine, expected)
        #expect(alike, "\(mine)")
        #expect(!mine.what.isEmpty && mine.advice.hasSuffix("."), "\(mine)")
        #expect(said.insert(mine.what).inserted, "\(mine)")
        #expect(mine.localizedDescription == mine.what)
      }
    }
    #expect(own(Trouble("x")) is Trouble)

    // And as they are raised.
    try await inWorld { world in
      var wrong = world.config("a")
      wrong.url = "ftp://x"
      await #expect { _ = try await EvenkeelClient(wrong) { _ in "" } } throws: { error in
        if case .url? = error as? Open { true } else { false }
      }
      let client = try await world.client(world.config("a"))
      var another = world.config("a")
      another.accountId = "other"
      await #expect(throws: Open.wrongAccount) { _ = try await EvenkeelClient(another) { _ in "" } }
      try Data("no store at all, but long enough to look at".utf8).write(to: world.folder.appending(path: "text"))
      await #expect(throws: Open.self) {
        _ = try await EvenkeelClient(world.config("text")) { _ in "" }
      }
      await #expect(throws: Bad.id) { try await client.notes.put("", Note(text: "")) }
      await #expect(throws: Bad.notFound) { try await client.discard("nothing") }
      await #expect { try await client.records(of: [Int].self).put("n1", [1]) } throws: { error in
        if case .json? = error as? Bad { true } else { false }
      }
      await #expect { _ = try await client.notes.page(after: "nonsense") } throws: { error in
        if case .json? = error as? Bad { true } else { false }
      }
      try await client.records(of: [String: Int].self).put("other", ["n": 1])
      await #expect(throws: DecodingError.self) { _ = try await client.notes.get("other") }
      #expect(try await client.notes.page().others.map(\.id) == ["other"])
      try await world.stack.set("edge_refuses")
      await #expect { _ = try await client.syncOnce(within: .milliseconds(50)) } throws: { error in
        switch error as? Once {
        case .deadline?, .failed?: true
        default: false
        }
      }
      try await client.suspend(within: .seconds(-5))
    }
  }
}

/// A real one.
private func anyStatus() async throws -> SyncStatus {
  let folder = FileManager.default.temporaryDirectory.appending(path: "evenkeel-\(UUID())")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  let config = EvenkeelConfig(
    url: "http://127.0.0.1:9", accountId: "demo", storePath: folder.appending(path: "a").path)
  let client = try await EvenkeelClient(config) { _ in throw SignedOut() }
  let status = try client.status()
  await client.close()
  return status
}

/// The errors' variants, by their enum, as the core's source has them.
private func variants(in source: String) -> [String: [String]] {
  var (found, current) = ([String: [String]](), String?.none)
  for line in source.split(separator: "\n") {
    if let name = line.firstMatch(of: /^pub enum (\w+Error) \{/)?.1 {
      current = String(name)
      found[String(name)] = []
    } else if line == "}" {
      current = nil
    } else if let current, let name = line.firstMatch(of: /^    ([A-Z]\w+)( \{|,)/)?.1 {
      found[current]?.append(String(name))
    }
  }
  return found
}

private func same<E: EvenkeelError>(_ mine: E, _ expected: any EvenkeelError) -> Bool {
  expected as? E == mine
}

/// The core's errors and ours have the same names.
private enum FFI {
  typealias Open = EvenkeelFFI.OpenError
  typealias Client = EvenkeelFFI.ClientError
  typealias Data = EvenkeelFFI.DataError
  typealias Once = EvenkeelFFI.SyncOnceError
  typealias Request = EvenkeelFFI.RequestError
  typealias Ai = EvenkeelFFI.AiError
}

private typealias Open = Evenkeel.OpenError
private typealias Bad = Evenkeel.DataError
private typealias Once = Evenkeel.SyncOnceError
private typealias Request = Evenkeel.RequestError
private typealias Ai = Evenkeel.AiError

private func caseName(_ error: any Error) -> String {
  // One with values has one child that is named after it.
  Mirror(reflecting: error).children.first?.label ?? String(reflecting: error).split(separator: ".").last.map(String.init) ?? ""
}
