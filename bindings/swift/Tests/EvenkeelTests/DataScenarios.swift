import Foundation
import Testing

@testable import Evenkeel

/// What is kept, and what becomes of what is closed.
extension Scenarios {
  @Test("long-list") func longList() async throws {
    let count = 10_000
    let all = (0..<count).map { "r\($0)" }
    func paged(_ client: EvenkeelClient) async throws -> [String] {
      var (ids, after) = ([String](), String?.none)
      repeat {
        let page = try await client.notes.page(order: .oldestCreation, limit: 1_000, after: after)
        #expect(page.items.count == 1_000 && page.others.isEmpty)
        ids += page.items.map(\.id)
        after = page.next
      } while after != nil
      return ids
    }
    try await inWorld { world in
      try await world.stack.fill(count)
      let client = try await world.synced("a")
      #expect(try await paged(client) == all)
      var walked = Set<String>()
      for try await record in client.notes.all(order: .id) {
        #expect(record.id == "r\(record.fields.text)")
        #expect(walked.insert(record.id).inserted)
      }
      #expect(walked.count == count)

      // The app's own from before there was a service, on a device that never heard of one.
      let own = try await world.client(world.config("own"))
      let records = (0..<count).map { n in
        let at = Date(timeIntervalSince1970: 1_700_000_000 + Double(n))
        return Record(id: "r\(n)", createdAt: at, updatedAt: at, fields: Note(text: "\(n)"))
      }
      #expect(try await own.notes.bootstrap(records) == .taken(records: Int64(count)))
      #expect(try await own.notes.bootstrap(records) == .doneBefore)
      #expect(try await paged(own) == all)
      #expect(try await own.notes.get("r7")?.createdAt == records[7].createdAt)
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
      for call in [client.start, client.retryNow, client.syncNow, client.tokenChanged] {
        #expect(throws: ClientError.closed) { try call() }
      }
      #expect(throws: ClientError.closed) { try client.setNetwork(.up) }
      #expect(throws: ClientError.closed) { try client.setForeground(true) }
      #expect(throws: ClientError.closed) { _ = try client.status() }
      #expect(throws: ClientError.closed) { _ = try client.diagnostics() }
      #expect(throws: ClientError.closed) { _ = try client.changes() }
      #expect(throws: ClientError.closed) { _ = try client.onStatus { _ in } }
      #expect(throws: AiError.closed) { _ = try client.ai() }
      #expect(throws: DataError.closed) { _ = try client.notes.observe("n1") }
      #expect(throws: DataError.closed) { _ = try client.notes.observePage() }
      await #expect(throws: ClientError.closed) { try await client.suspend() }
      await #expect(throws: ClientError.closed) { try await client.resume() }
      await #expect(throws: ClientError.closed) { try await client.stop() }
      await #expect(throws: SyncOnceError.closed) { _ = try await client.syncOnce(within: .seconds(1)) }
      await #expect(throws: RequestError.closed) { _ = try await client.devices() }
      await #expect(throws: RequestError.closed) { try await client.revokeDevice("x") }
      await #expect(throws: AiError.closed) { _ = try await ai.session() }
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
      for call in data { await #expect(throws: DataError.closed) { try await call() } }
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
