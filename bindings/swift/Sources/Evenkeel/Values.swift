// The values that cross the border are the generated ones: plain, `Sendable`, `Hashable`. Named here, so that
// an app imports `Evenkeel` alone. Where SwiftUI or the Network framework have the same name, ours is longer.

import EvenkeelFFI
import Foundation

/// How a client is made. The first three settings are required; the others suit most apps as they are.
public typealias EvenkeelConfig = EvenkeelFFI.EvenkeelConfig

/// One consistent picture of the client.
public typealias SyncStatus = EvenkeelFFI.SyncStatus
/// Where the data stands.
public typealias SyncState = EvenkeelFFI.SyncState
/// Whether the client is at work.
public typealias Lifecycle = EvenkeelFFI.Lifecycle
/// How news from the server reaches us.
public typealias SyncLink = EvenkeelFFI.Link
/// Why something failed.
public typealias Cause = EvenkeelFFI.Cause
/// Whose fault a failure is: the first place to look.
public typealias Layer = EvenkeelFFI.Layer
/// What only the app, or its user, can do.
public typealias Ask = EvenkeelFFI.Ask
/// How full the outbox is.
public typealias OutboxLevel = EvenkeelFFI.OutboxLevel
/// What the system says about the network.
public typealias NetworkState = EvenkeelFFI.Network
/// What becomes of the data when the user signs out.
public typealias SignOut = EvenkeelFFI.SignOut
/// What a `syncOnce` did.
public typealias SyncReport = EvenkeelFFI.SyncReport
/// One device of the account.
public typealias DeviceInfo = EvenkeelFFI.DeviceInfo
/// One failure of the service, or on the way there.
public typealias FailureInfo = EvenkeelFFI.FailureInfo

/// A record as the app sees it, its fields as text in JSON.
public typealias StoredRecord = EvenkeelFFI.StoredRecord
/// What came of taking over earlier records.
public typealias Bootstrap = EvenkeelFFI.Bootstrap
/// In which order records are listed.
public typealias RecordOrder = EvenkeelFFI.Order
/// Something was applied to the store.
public typealias Change = EvenkeelFFI.Change
/// Where a change came from.
public typealias ChangeOrigin = EvenkeelFFI.Origin
/// What waits for the server.
public typealias PendingWrites = EvenkeelFFI.PendingWrites
/// A local write that the server has not answered for.
public typealias PendingWrite = EvenkeelFFI.PendingWrite
/// A record that changed here and on the server, its sides as text in JSON.
public typealias StoredConflict = EvenkeelFFI.Conflict
/// What stands against what in a conflict.
public typealias Clash = EvenkeelFFI.Clash
/// A local write that the server does not take.
public typealias Rejected = EvenkeelFFI.Rejected
/// Why a write is parked.
public typealias RejectReason = EvenkeelFFI.RejectReason
/// What became of a local write.
public typealias Verdict = EvenkeelFFI.Verdict
/// What was brought over from a damaged store.
public typealias Recovery = EvenkeelFFI.Recovery

extension SyncStatus {
  /// Since when the state is what it is.
  public var since: Date { Date(ms: sinceMs) }
  /// When the next request goes out by itself: for showing. Nil when none is planned.
  public var nextAttempt: Date? { nextAttemptAtMs.map(Date.init(ms:)) }
  /// How long until then, from the moment in which this status was asked for or delivered. To count down,
  /// ask for ``EvenkeelClient/status()`` again: it is always the rest that is left now.
  public var nextAttemptIn: Duration? { nextAttemptInMs.map { .milliseconds($0) } }
  /// How long ago `synced` was last proven; nil for never in this run.
  public var lastProofAgo: Duration? { lastProofAgoMs.map { .milliseconds($0) } }
}

extension StoredRecord {
  /// When it was made.
  public var createdAt: Date { Date(ms: createdAtMs) }
  /// When it was last written.
  public var updatedAt: Date { Date(ms: updatedAtMs) }
}

extension Date {
  init(ms: Int64) {
    self.init(timeIntervalSince1970: Double(ms) / 1_000)
  }

  var ms: Int64 {
    Int64(clamping: timeIntervalSince1970 * 1_000)
  }
}

extension Duration {
  /// In whole milliseconds; less than nothing is nothing.
  var ms: Int64 {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    let (whole, over) = seconds.multipliedReportingOverflow(by: 1_000)
    let (ms, further) = whole.addingReportingOverflow(attoseconds / 1_000_000_000_000_000)
    return over || further ? .max : ms
  }
}

extension Int64 {
  /// The nearest that there is: a date can be anything.
  init(clamping value: Double) {
    let rounded = value.rounded()
    if rounded.isNaN {
      self = 0
    } else if rounded >= 0x1p63 {
      self = .max
    } else if rounded <= -0x1p63 {
      self = .min
    } else {
      self = Int64(rounded)
    }
  }
}
