import Foundation
import Testing

@testable import Evenkeel

/// What the app's own code does: tokens, listeners, cancelling.
extension Scenarios {
  private struct Unexpected: Error {}

  @Test("token-throws") func tokenThrows() async throws {
    try await inWorld { world in
      let works = Shared(false)
      let client = try await world.client(world.config("a")) { _ in
        guard works.value else { throw Unexpected() }
        return "demo-token"
      }
      try client.start()
      let down = try await client.reach { $0.cause == .tokenUnavailable }
      #expect((down.state, down.ask) == (.degraded, .none))
      works.value = true
      try await client.reach { $0.state == .synced }
    }
    // One that says so is asked for nothing more until the user is back.
    try await inWorld { world in
      let (signedIn, asked) = (Shared(false), Shared(0))
      let client = try await world.client(world.config("a")) { _ in
        asked.update { $0 += 1 }
        guard signedIn.value else { throw SignedOut() }
        return "demo-token"
      }
      try client.start()
      try await client.reach { $0.ask == .signIn && $0.cause == .authRequired }
      let before = asked.value
      try client.retryNow()
      signedIn.value = true
      #expect(asked.value == before)
      try client.tokenChanged()
      try await client.reach { $0.state == .synced }
    }
  }

  @Test("token-slow") func tokenSlow() async throws {
    try await inWorld { world in
      let (slow, dropped) = (Shared(true), Shared(0))
      var config = world.config("a")
      config.tokenTimeoutMs = 200
      let client = try await world.client(config) { _ in
        guard slow.value else { return "demo-token" }
        do {
          try await Task.sleep(for: .seconds(3_600))
        } catch {
          dropped.update { $0 += 1 }
        }
        return "too-late"
      }
      try client.start()
      let down = try await client.reach { $0.cause == .tokenUnavailable }
      #expect(down.state == .degraded)
      slow.value = false
      try await client.reach { $0.state == .synced }
      #expect(dropped.value > 0, "the app's task is cancelled")
    }
  }

  @Test("token-refresh") func tokenRefresh() async throws {
    try await inWorld(["tokens=old=demo,new=demo"]) { world in
      let reasons = Shared<[TokenReason]>([])
      let client = try await world.client(world.config("a")) { reason in
        reasons.update { $0.append(reason) }
        return reason == .refused ? "new" : "old"
      }
      try client.start()
      try await client.reach { $0.state == .synced }
      #expect(reasons.value == [.needed])
      try await world.stack.set("tokens_expired", #"{"only":["old"]}"#)
      // Acknowledged only with the new one: the old one is refused from now on.
      #expect(try await client.notes.put("n1", Note(text: "x")).verdict().acknowledged)
      try await client.reach { $0.state == .synced }
      #expect(reasons.value == [.needed, .refused])
      #expect(!(try client.diagnostics().contains("\"new\"")))
    }
  }

  @Test("listener-throws") func listenerThrows() async throws {
    try await inWorld { world in
      let client = try await world.client(world.config("a"))
      let (clumsy, steady) = (Shared(0), Shared<[SyncStatus]>([]))
      try client.onStatus { _ in
        clumsy.update { $0 += 1 }
        throw Unexpected()
      }
      let subscription = try client.onStatus { status in steady.update { $0.append(status) } }
      try client.start()
      let synced = try await client.reach { $0.state == .synced }
      try await until { steady.value.contains { $0.version >= synced.version } && clumsy.value > 1 }
      #expect(try await client.notes.put("n1", Note(text: "x")).verdict().acknowledged)
      let told = try JSONSerialization.jsonObject(with: Data(client.diagnostics().utf8)) as? [String: Any]
      #expect((told?["listener_failures"] as? Int ?? 0) > 1)
      // And one that was cancelled hears nothing more.
      subscription.cancel()
      let heard = steady.value.count
      try await client.stop()
      try await client.reach { $0.lifecycle == .stopped }
      #expect(steady.value.count <= heard + 1, "at most the call that was under way")
    }
  }

  @Test("cancel") func cancel() async throws {
    try await inWorld { world in
      let client = try await world.synced("a")
      try await world.stack.set("origin_hangs")
      let write = try await client.notes.put("n1", Note(text: "x"))
      let begun = Shared(0)
      func waiting<T: Sendable>(_ wait: @escaping @Sendable () async throws -> T) -> Task<T, any Error> {
        Task {
          begun.update { $0 += 1 }
          return try await wait()
        }
      }
      let statuses = waiting { for await status in client.statuses() where status.version == .max { return status.version }; return 0 }
      let changes = try client.changes()
      let change = waiting { for await change in changes where change == .missed(count: .max) { return 1 }; return 0 }
      let looks = try client.notes.observe("never")
      let look = waiting { for try await record in looks where record != nil { return 1 }; return 0 }
      let verdict = waiting { try await write.verdict() }
      let once = waiting { try await client.syncOnce(within: .seconds(600)) }
      let devices = waiting { try await client.devices() }
      try await until { begun.value == 6 }
      // So that they are in the core by then; those that are not are cancelled all the same.
      try await Task.sleep(for: .milliseconds(200))
      for task in [statuses.cancel, change.cancel, look.cancel, verdict.cancel, once.cancel, devices.cancel] { task() }
      #expect(try await statuses.value == 0)
      #expect(try await change.value == 0)
      let looked = await look.result
      #expect((try? looked.get()) == 0 || looked.isCancelled)
      #expect(await verdict.result.isCancelled)
      #expect(await once.result.isCancelled)
      #expect(await devices.result.isCancelled)
      // What was cancelled before it began does not begin.
      let late = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        return try await client.syncOnce(within: .seconds(600))
      }
      #expect(await late.result.isCancelled)

      try await world.stack.reset()
      #expect(try await write.verdict().acknowledged)
      try await client.reach { $0.state == .synced }
      #expect(await elapsed { await client.close() } < .seconds(10))
    }
  }
}

/// Waits for what other tasks do.
func until(_ there: () -> Bool) async throws {
  while !there() {
    try await Task.sleep(for: .milliseconds(5))
  }
}

extension Result where Failure == any Error {
  var isCancelled: Bool {
    if case .failure(let error) = self { error is CancellationError } else { false }
  }
}
