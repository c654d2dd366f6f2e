import Foundation
import Testing

@testable import Evenkeel

/// The scenarios of bindings/scenarios.md, each under its id. One at a time: some count threads and files.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct Scenarios {
  @Test("first-sync") func firstSync() async throws {
    try await inWorld { world in
      let other = try await world.synced("other")
      for n in 0..<20 { try await other.notes.put("n\(n)", Note(text: "text \(n)")) }
      try await other.reach { $0.state == .synced && $0.pending == 0 }

      let new = try await world.client(world.config("new"))
      #expect(try new.status().lifecycle == .stopped)
      try new.start()
      try await new.reach { $0.state == .synced && $0.lifecycle == .running && $0.link == .stream }
      var found: [String: String] = [:]
      for try await record in new.notes.all() { found[record.id] = record.fields.text }
      #expect(found == Dictionary(uniqueKeysWithValues: (0..<20).map { ("n\($0)", "text \($0)") }))
    }
  }

  @Test("outage") func outage() async throws {
    try await inWorld(["circuit_open_ms=3000"]) { world in
      let client = try await world.synced("a")
      let seen = Shared<[SyncStatus]>([])
      let reader = Task {
        for await status in client.statuses() { seen.update { $0.append(status) } }
      }
      try await world.stack.set("circuit_forced_open")
      try await client.notes.put("n1", Note(text: "later"))
      let down = try await client.reach { $0.cause == .circuitOpen && $0.nextAttemptInMs != nil }
      #expect((down.state, down.layer, down.pending) == (.degraded, .edge, 1))
      let left = try #require(down.nextAttemptIn)
      #expect(left > .zero)
      #expect(try #require(down.nextAttempt) > Date(timeIntervalSince1970: 1_600_000_000))
      // The countdown runs: of the same wait less and less is left, or the next attempt is made.
      while true {
        let now = try client.status()
        if now.version != down.version { break }
        if let rest = now.nextAttemptIn, rest < left { break }
        await Task.yield()
      }
      try await world.stack.reset()
      try await client.reach { $0.state == .synced && $0.pending == 0 }
      reader.cancel()
      await reader.value
      let states = seen.value
      #expect(states.contains { $0.state == .degraded && $0.cause == .circuitOpen && $0.layer == .edge })
      #expect(zip(states, states.dropFirst()).allSatisfy { $0.version < $1.version })
    }
  }

  @Test("offline-edit") func offlineEdit() async throws {
    try await inWorld { world in
      let phone = try await world.synced("phone")
      let desk = try await world.synced("desk")
      try await world.stack.set("origin_refuses")
      let write = try await phone.notes.put("n1", Note(text: "on the train"))
      let pending = try await phone.pending()
      #expect(pending.writes.map(\.id) == ["n1"])
      #expect(try await phone.notes.get("n1")?.fields.text == "on the train")
      try await phone.reach { $0.state == .degraded && $0.pending == 1 }
      try await world.stack.reset()
      #expect(try await write.verdict().acknowledged)
      #expect(try await write.verdict().acknowledged, "it may be asked for again")
      try await desk.look(at: "n1") { $0?.fields.text == "on the train" }
    }
  }

  @Test("conflict") func conflict() async throws {
    try await inWorld { world in
      let desk = try await world.synced("desk")
      let phone = try await world.synced("phone")
      #expect(try await desk.notes.put("n1", Note(text: "begin", done: false)).verdict().acknowledged)
      try await phone.look(at: "n1") { $0 != nil }
      try phone.setNetwork(.down)
      try await phone.reach { $0.cause == .offline }
      let local = try await phone.notes.put("n1", Note(text: "phone", done: false))
      #expect(try await desk.notes.put("n1", Note(text: "desk", done: false)).verdict().acknowledged)
      try phone.setNetwork(.up)
      try await phone.reach { $0.ask == .resolveConflicts && $0.conflicts == 1 }
      #expect(try await local.verdict() == .conflicted)

      let conflict = try #require(try await phone.notes.conflicts().first)
      #expect(conflict.id == "n1")
      #expect(conflict.base?.text == "begin")
      #expect(conflict.local?.fields.text == "phone")
      #expect(conflict.server?.fields.text == "desk")
      #expect(conflict.clash == .fields(names: ["text"]))
      let choice = try await phone.notes.resolve("n1", .merged(Note(text: "both", done: false)))
      #expect(try await choice.verdict().acknowledged)
      try await desk.look(at: "n1") { $0?.fields.text == "both" }
      try await phone.reach { $0.state == .synced && $0.conflicts == 0 && $0.ask == .none }
      await #expect(throws: DataError.notFound) { try await phone.notes.resolve("n1", .keepServer) }
    }
  }

  @Test("device-revoked") func deviceRevoked() async throws {
    try await inWorld { world in
      let desk = try await world.synced("desk")
      let phone = try await world.synced("phone")
      let devices = try await desk.devices()
      #expect(Set(devices.map(\.id)).isSuperset(of: [desk.deviceId, phone.deviceId]))
      #expect(devices.filter(\.current).map(\.id) == [desk.deviceId])
      #expect(try await desk.revokeDevice(phone.deviceId) == phone.deviceId)
      try await phone.notes.put("n1", Note(text: "too late"))
      try await phone.reach { $0.ask == .deviceRevoked && $0.cause == .deviceRevoked }
      do {
        _ = try await phone.devices()
        Issue.record("a revoked device is answered")
      } catch RequestError.failed(let failure) {
        #expect((failure.cause, failure.layer) == (.deviceRevoked, .account))
      }
      #expect(try desk.status().ask == .none)
    }
  }

  @Test("suspend-resume") func suspendResume() async throws {
    try await inWorld { world in
      let client = try await world.synced("a")
      let other = try await world.synced("b")
      let writer = Task {
        var n = 0
        while n < 60 {
          do {
            try await client.notes.put("n\(n)", Note(text: "\(n)"))
            n += 1
          } catch DataError.suspended {
            try await client.reach { $0.lifecycle == .running }
          }
        }
      }
      for _ in 0..<10 {
        let took = try await elapsed { try await client.suspend(within: .seconds(5)) }
        #expect(took < .seconds(6))
        #expect(try client.status().lifecycle == .suspended)
        await #expect(throws: RequestError.suspended) { try await client.devices() }
        try await client.resume()
        #expect(try client.status().lifecycle == .running)
        _ = try await client.notes.get("n0")
      }
      try await writer.value
      try await client.reach { $0.state == .synced && $0.pending == 0 }
      for n in 0..<60 { try await other.look(at: "n\(n)") { $0?.fields.text == "\(n)" } }

      // Nothing is sent meanwhile: the other one is at rest too, and the log stands still.
      try await client.notes.put("last", Note(text: "kept"))
      try await client.suspend()
      try await other.suspend()
      // What was on its way is counted by the edge and again by the origin, late on a busy machine; then no more.
      var (before, now) = (-1, try await world.stack.requests())
      while now != before {
        try await Task.sleep(for: .milliseconds(300))
        (before, now) = (now, try await world.stack.requests())
      }
      try await client.resume()
      try await other.resume()
      try await other.look(at: "last") { $0 != nil }
    }
  }

  @Test("two-clients") func twoClients() async throws {
    try await inWorld { world in
      let first = try await world.synced("shared")
      let second = try await world.client(world.config("shared"))
      try second.start()
      try await second.reach { !$0.syncsHere && $0.lifecycle == .running }
      #expect(try first.status().syncsHere)
      try await second.notes.put("n1", Note(text: "from the second"))
      try await first.look(at: "n1") { $0?.fields.text == "from the second" }
      try await first.notes.put("n1", Note(text: "from the first"))
      try await second.look(at: "n1") { $0?.fields.text == "from the first" }
      let third = try await world.synced("elsewhere")
      try await third.look(at: "n1") { $0?.fields.text == "from the first" }
      await first.close()
      try await second.reach { $0.syncsHere && $0.state == .synced }
    }
  }
}
