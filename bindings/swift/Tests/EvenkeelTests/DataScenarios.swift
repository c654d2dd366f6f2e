import EvenkeelFFI
import Foundation
import Testing

@testable import Evenkeel

/// What is kept, and what becomes of errors and of what is closed.
extension Scenarios {
  @Test("long-list") func longList() async throws {
    try await inWorld { world in
      let count = 10_000
      let writer = try await world.client(world.config("a"))
      let begin = Date(timeIntervalSince1970: 1_700_000_000)
      let records = (0..<count).map { n in
        let at = begin.addingTimeInterval(Double(n))
        return Record(id: "r\(n)", createdAt: at, updatedAt: at, fields: Note(text: "\(n)"))
      }
      #expect(try await writer.notes.bootstrap(records) == .taken(records: Int64(count)))
      #expect(try await writer.notes.bootstrap(records) == .doneBefore)
      var (ids, after) = ([String](), String?.none)
      repeat {
        let page = try await writer.notes.page(order: .oldestCreation, limit: 1_000, after: after)
        ids += page.items.map(\.id)
        #expect(page.items.count == 1_000 && page.others.isEmpty)
        after = page.next
      } while after != nil
      #expect(ids == (0..<count).map { "r\($0)" })

      // And on another device, each exactly once.
      try writer.start()
      try await writer.reach { $0.state == .synced && $0.pending == 0 }
      let reader = try await world.synced("b")
      var seen = Set<String>()
      var walked = 0
      for try await record in reader.notes.all(order: .id) {
        #expect(record.id == "r\(record.fields.text)")
        seen.insert(record.id)
        walked += 1
      }
      #expect(walked == count && seen.count == count)
    }
  }

  @Test("unicode") func unicode() async throws {
    try await inWorld { world in
      let desk = try await world.synced("desk")
      let phone = try await world.synced("phone")
      let texts = [
        "👩‍👩‍👧‍👦🏳️‍🌈", "e\u{301} is not \u{e9}", "\u{e9}", "שלום \u{200f}עולם", "مرحبا", "tab\tnew\nline\r\u{1}\u{1f}\u{7f}",
        "\u{0}begins with nothing", "\u{2028}\u{2029}", "\u{feff}bom", "𝒳 \u{10ffff}", "\"\\/{}[]", "日本語", "",
      ]
      for (n, text) in texts.enumerated() { try await desk.notes.put("t\(n)", Note(text: text)) }
      let ids = ["😀", "e\u{301}", "\u{e9}", "שלום", "a b/c?d#e%20", "日本"]
      for id in ids { try await desk.notes.put(id, Note(text: id)) }
      try await desk.reach { $0.state == .synced && $0.pending == 0 }
      for (n, text) in texts.enumerated() {
        // By their bytes: to Swift é and e with an accent are the same.
        try await phone.look(at: "t\(n)") { $0.map { Array($0.fields.text.utf8) } == Array(text.utf8) }
      }
      for id in ids {
        let record = try await phone.look(at: id) { $0 != nil }
        #expect(record.map { Array($0.id.utf8) } == Array(id.utf8))
        #expect(record.map { Array($0.fields.text.utf8) } == Array(id.utf8))
      }
    }
  }

  @Test("errors") func errors() async throws {
    // The table: every error of the core has a case of its own here, with a text and something to do.
    let status = try await anyStatus()
    let failure = FailureInfo(
      cause: .deviceRevoked, layer: .account, httpStatus: 403, code: "device_revoked", retryAfterMs: nil,
      text: "this device was revoked")
    let (r, p) = ("because", "/some/where")
    let core: [(String, [any Error])] = [
      ("OpenError", [
        EvenkeelFFI.OpenError.Url(reason: r), EvenkeelFFI.OpenError.DeviceId,
        EvenkeelFFI.OpenError.Setting(name: "seed", reason: r), EvenkeelFFI.OpenError.Certificate(reason: r),
        EvenkeelFFI.OpenError.Proxy, EvenkeelFFI.OpenError.Network(reason: r),
        EvenkeelFFI.OpenError.StateCorrupt(path: p, reason: r), EvenkeelFFI.OpenError.StateUnusable(path: p, reason: r),
        EvenkeelFFI.OpenError.WrongAccount, EvenkeelFFI.OpenError.NotAStore(path: p),
        EvenkeelFFI.OpenError.NewerStore(found: 2, known: 1), EvenkeelFFI.OpenError.StoreCorrupt(reason: r),
        EvenkeelFFI.OpenError.StoreBusy, EvenkeelFFI.OpenError.StoreFull,
        EvenkeelFFI.OpenError.StoreUnusable(path: p, reason: r), EvenkeelFFI.OpenError.Internal(reason: r),
      ]),
      ("ClientError", [
        EvenkeelFFI.ClientError.Closed, EvenkeelFFI.ClientError.Cancelled,
        EvenkeelFFI.ClientError.Unfinished(left: ["pull"]), EvenkeelFFI.ClientError.Internal(reason: r),
      ]),
      ("DataError", [
        EvenkeelFFI.DataError.OutboxFull(kept: 3), EvenkeelFFI.DataError.Id, EvenkeelFFI.DataError.NotFound,
        EvenkeelFFI.DataError.Json(reason: r), EvenkeelFFI.DataError.Full, EvenkeelFFI.DataError.Corrupt(reason: r),
        EvenkeelFFI.DataError.Closed, EvenkeelFFI.DataError.Suspended, EvenkeelFFI.DataError.Busy,
        EvenkeelFFI.DataError.Cancelled, EvenkeelFFI.DataError.Internal(reason: r),
      ]),
      ("SyncOnceError", [
        EvenkeelFFI.SyncOnceError.Deadline(status: status), EvenkeelFFI.SyncOnceError.Failed(status: status),
        EvenkeelFFI.SyncOnceError.Interrupted, EvenkeelFFI.SyncOnceError.Cancelled, EvenkeelFFI.SyncOnceError.Closed,
        EvenkeelFFI.SyncOnceError.Internal(reason: r),
      ]),
      ("RequestError", [
        EvenkeelFFI.RequestError.Suspended, EvenkeelFFI.RequestError.Held(waitMs: 5),
        EvenkeelFFI.RequestError.Failed(failure: failure), EvenkeelFFI.RequestError.Cancelled,
        EvenkeelFFI.RequestError.Closed, EvenkeelFFI.RequestError.Internal(reason: r),
      ]),
      ("AiError", [
        EvenkeelFFI.AiError.NotConnected, EvenkeelFFI.AiError.Held(waitMs: 5, cause: .rateLimited),
        EvenkeelFFI.AiError.Failed(failure: failure, attempts: 3), EvenkeelFFI.AiError.Cancelled,
        EvenkeelFFI.AiError.Closed, EvenkeelFFI.AiError.Internal(reason: r),
      ]),
    ]
    let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appending(path: "../../../ffi/src/errors.rs").standardized
    let known = try variants(in: String(contentsOf: source, encoding: .utf8))
    #expect(known.keys.sorted() == core.map(\.0).sorted())
    for (type, errors) in core {
      #expect(errors.map(caseName) == known[type], "\(type) is complete, in the core's order")
      var said = Set<String>()
      for error in errors {
        if caseName(error) == "Cancelled" {
          #expect(own(error) is CancellationError)
          continue
        }
        let mine = try #require(own(error) as? any EvenkeelError)
        #expect("\(Swift.type(of: mine))" == type)
        #expect(caseName(mine).lowercased() == caseName(error).lowercased())
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
        if case .url? = error as? Evenkeel.OpenError { true } else { false }
      }
      let client = try await world.client(world.config("a"))
      var another = world.config("a")
      another.accountId = "other"
      await #expect(throws: Evenkeel.OpenError.wrongAccount) { _ = try await EvenkeelClient(another) { _ in "" } }
      try Data("no store at all, but long enough to look at".utf8).write(to: world.folder.appending(path: "text"))
      await #expect(throws: Evenkeel.OpenError.self) {
        _ = try await EvenkeelClient(world.config("text")) { _ in "" }
      }
      await #expect(throws: Evenkeel.DataError.id) { try await client.notes.put("", Note(text: "")) }
      await #expect(throws: Evenkeel.DataError.notFound) { try await client.discard("nothing") }
      await #expect { try await client.records(of: [Int].self).put("n1", [1]) } throws: { error in
        if case .json? = error as? Evenkeel.DataError { true } else { false }
      }
      await #expect { _ = try await client.notes.page(after: "nonsense") } throws: { error in
        if case .json? = error as? Evenkeel.DataError { true } else { false }
      }
      try await client.records(of: [String: Int].self).put("other", ["n": 1])
      await #expect(throws: DecodingError.self) { _ = try await client.notes.get("other") }
      #expect(try await client.notes.page().others.map(\.id) == ["other"])
      try await world.stack.set("edge_refuses")
      await #expect { _ = try await client.syncOnce(within: .milliseconds(50)) } throws: { error in
        switch error as? Evenkeel.SyncOnceError {
        case .deadline?, .failed?: true
        default: false
        }
      }
      try await client.suspend(within: .seconds(-5))
    }
  }

  @Test("closed") func closed() async throws {
    try await inWorld { world in
      let client = try await world.synced("a")
      let write = try await client.notes.put("n1", Note(text: "x"))
      let ended = Task { for await _ in client.statuses() {} }
      let ai = try client.ai()
      let changes = try client.changes()
      await client.close()
      await client.close()
      await ended.value
      for await _ in changes {}
      _ = try? await write.verdict()
      for call in [client.start, client.resume, client.retryNow, client.syncNow, client.tokenChanged] {
        #expect(throws: ClientError.closed) { try call() }
      }
      #expect(throws: ClientError.closed) { try client.setNetwork(.up) }
      #expect(throws: ClientError.closed) { try client.setForeground(true) }
      #expect(throws: ClientError.closed) { _ = try client.status() }
      #expect(throws: ClientError.closed) { _ = try client.diagnostics() }
      #expect(throws: ClientError.closed) { _ = try client.changes() }
      #expect(throws: ClientError.closed) { _ = try client.onStatus { _ in } }
      #expect(throws: Evenkeel.AiError.closed) { _ = try client.ai() }
      #expect(throws: Evenkeel.DataError.closed) { _ = try client.notes.observe("n1") }
      #expect(throws: Evenkeel.DataError.closed) { _ = try client.notes.observePage() }
      await #expect(throws: ClientError.closed) { try await client.suspend() }
      await #expect(throws: ClientError.closed) { try await client.stop() }
      await #expect(throws: Evenkeel.SyncOnceError.closed) { _ = try await client.syncOnce(within: .seconds(1)) }
      await #expect(throws: Evenkeel.RequestError.closed) { _ = try await client.devices() }
      await #expect(throws: Evenkeel.RequestError.closed) { try await client.revokeDevice("x") }
      await #expect(throws: Evenkeel.AiError.closed) { _ = try await ai.session() }
      let data: [@Sendable () async throws -> Void] = [
        { _ = try await client.notes.get("n1") }, { try await client.notes.put("n1", Note(text: "")) },
        { try await client.notes.patch("n1", ["text": "y"]) }, { try await client.notes.delete("n1") },
        { try await client.notes.put("n1", Note(text: ""), known: ["text"]) }, { _ = try await client.notes.page() },
        { _ = try await client.notes.bootstrap([]) }, { _ = try await client.notes.conflicts() },
        { try await client.notes.resolve("n1", .keepLocal) }, { _ = try await client.conflicts() },
        { _ = try await client.pending() }, { _ = try await client.rejected() }, { try await client.retry("n1") },
        { try await client.discard("n1") }, { try await client.signOut(.keep) },
        { for try await _ in client.notes.all() {} },
      ]
      for call in data { await #expect(throws: Evenkeel.DataError.closed) { try await call() } }
      for await _ in client.statuses() { Issue.record("a closed client has no status") }

      // Many come and go; every other one is only let go of.
      let before = openFiles(under: world.folder)
      for n in 0..<100 {
        let client = try await EvenkeelClient(world.config("many")) { _ in "demo-token" }
        try client.start()
        if n % 2 == 0 { await client.close() }
      }
      // The last ones close on threads of their own.
      try await until { coreThreads().isEmpty && openFiles(under: world.folder) == before }
      #expect(before == 0)
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

private func caseName(_ error: any Error) -> String {
  // One with values has one child that is named after it.
  Mirror(reflecting: error).children.first?.label ?? String(reflecting: error).split(separator: ".").last.map(String.init) ?? ""
}

/// The core's threads that live in this process.
private func coreThreads() -> [String] {
  let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? []
  return tasks.compactMap { try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8) }
    .filter { $0.hasPrefix("evenkeel") }
}

/// How many of its files this process has open there.
private func openFiles(under folder: URL) -> Int {
  let files = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
  return files.filter { fd in
    (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(fd)"))?.hasPrefix(folder.path) ?? false
  }.count
}
