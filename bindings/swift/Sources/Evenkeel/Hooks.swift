// What the system tells an app, passed on to the client.

import Foundation

extension NetworkState {
  /// From what a path monitor says. Data that costs money or is to be saved makes the client poll less often.
  public init(satisfied: Bool, expensive: Bool, constrained: Bool) {
    self = !satisfied ? .down : expensive || constrained ? .metered : .up
  }
}

#if canImport(Network)
  import Network

  /// Tells the client of the network's changes, from its making until it is cancelled or let go of.
  ///
  ///     let watch = NetworkWatch(client) // keep it as long as the client
  public final class NetworkWatch: Sendable {
    private let monitor = NWPathMonitor()

    /// Begins to watch.
    public init(_ client: EvenkeelClient) {
      monitor.pathUpdateHandler = { path in
        // A closed client wants to hear nothing.
        try? client.setNetwork(
          NetworkState(
            satisfied: path.status == .satisfied, expensive: path.isExpensive, constrained: path.isConstrained))
      }
      monitor.start(queue: DispatchQueue(label: "evenkeel.network"))
    }

    /// Nothing is told after this.
    public func cancel() {
      monitor.cancel()
    }

    deinit {
      monitor.cancel()
    }
  }
#endif

#if canImport(SwiftUI)
  import SwiftUI

  extension EvenkeelClient {
    /// What a scene's change means to the client: an active one is seen, one in the background is not. An
    /// inactive one is on its way to either.
    public func sceneChanged(to phase: ScenePhase) {
      switch phase {
      case .active: try? setForeground(true)
      case .background: try? setForeground(false)
      default: break
      }
    }
  }

  extension View {
    /// Tells the client whether the user sees this view's scene. On the outermost view of an app.
    public func syncs(_ client: EvenkeelClient) -> some View {
      modifier(SceneHints(client: client))
    }
  }

  private struct SceneHints: ViewModifier {
    let client: EvenkeelClient
    @Environment(\.scenePhase) private var phase

    func body(content: Content) -> some View {
      content.onChange(of: phase, initial: true) { _, now in client.sceneChanged(to: now) }
    }
  }
#endif
