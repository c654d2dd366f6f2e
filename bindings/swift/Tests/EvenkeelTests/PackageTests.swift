import Foundation
import Testing

@testable import Evenkeel

/// What this package adds to the core, beside the scenarios.
extension Scenarios {
  @Test("partial-writes") func partialWrites() async throws {
    try await inWorld { world in
      let client = try await world.synced("a")
      let all = client.records(of: [String: String].self)
      try await all.put("n1", ["text": "a", "color": "red", "of a later release": "x"])
      try await client.notes.put("n1", Note(text: "b"), known: ["text", "done"])
      // The service adds a field of its own with its answer, which may be here already.
      let kept = try #require(try await all.get("n1")).fields.filter { $0.key != "lastModifiedByDeviceId" }
      #expect(kept == ["text": "b", "color": "red", "of a later release": "x"])
      try await client.notes.patch("n1", ["color": "blue"])
      #expect(try await all.get("n1")?.fields["color"] == "blue")
      #expect(try await client.notes.put("n1", Note(text: "c")).verdict().acknowledged)
      let left = try #require(try await all.get("n1")).fields
      #expect(left["text"] == "c" && left["color"] == nil && left["of a later release"] == nil)

      var looks = try client.notes.observePage(order: .id).makeAsyncIterator()
      #expect(try await looks.next()?.items.map(\.id) == ["n1"])
      let changes = try client.changes()
      #expect(try await client.notes.delete("n1").verdict().acknowledged)
      #expect(try await client.notes.get("n1") == nil)
      while let page = try await looks.next(), !page.items.isEmpty {}
      for await change in changes {
        if case .deleted(id: "n1", version: _, origin: .local) = change { break }
      }
    }
  }

  @Test("sync-once-and-sign-out") func syncOnceAndSignOut() async throws {
    try await inWorld { world in
      let other = try await world.synced("other")
      #expect(try await other.notes.put("n1", Note(text: "x")).verdict().acknowledged)
      let client = try await world.client(world.config("a"))
      let report = try await client.syncOnce(within: .seconds(30))
      #expect(report.changesApplied == 1)
      #expect(try await client.notes.get("n1")?.fields.text == "x")
      // It was at rest, and is again.
      #expect(try client.status().lifecycle != .running)
      try await client.signOut(.wipe)
      await #expect(throws: DataError.closed) { _ = try await client.notes.get("n1") }
      let again = try await world.client(world.config("a"))
      #expect(try await again.notes.page().items.isEmpty)
    }
  }

  @Test("ai") func ai() async throws {
    try await inWorld { world in
      let client = try await world.synced("a")
      let ai = try client.ai()
      await #expect(throws: AiError.notConnected) { _ = try await ai.analyze("Buy milk tomorrow") }
      #expect(try await ai.connect(provider: "gemini", apiKey: "key-of-a-user").connected)
      #expect(try await ai.session().provider == "gemini")
      #expect(!(try await ai.analyze("Buy milk tomorrow").title.isEmpty))
      #expect(try await ai.analyze(["one", "two"]).count == 2)
      var statuses = try ai.statuses().makeAsyncIterator()
      #expect(await statuses.next()?.state == .available)
      #expect(try await ai.disconnect().connected == false)
    }
  }

  @Test("times") func times() {
    #expect(Duration.seconds(-1).ms == 0 && Duration.milliseconds(1_500).ms == 1_500)
    #expect(Duration.seconds(Int64.max).ms == .max)
    #expect((Duration.seconds(Int64.max / 1_000) + .milliseconds(999)).ms == .max)
    #expect(Date.distantFuture.ms > 0 && Date.distantPast.ms < 0)
    for value in [Double.nan, .infinity, -.infinity] { _ = Int64(clamping: value) }
    #expect(Int64(clamping: .nan) == 0 && Int64(clamping: .infinity) == .max && Int64(clamping: -.infinity) == .min)
    #expect(NetworkState(satisfied: false, expensive: true, constrained: false) == .down)
    #expect(NetworkState(satisfied: true, expensive: true, constrained: false) == .metered)
    #expect(NetworkState(satisfied: true, expensive: false, constrained: true) == .metered)
    #expect(NetworkState(satisfied: true, expensive: false, constrained: false) == .up)
  }
}
