// swift-tools-version: 6.0
import Foundation
import PackageDescription

// The generated half is made by build.sh (or, for Apple's systems, package.sh) and lies in Generated/.
let framework = "Generated/EvenkeelCore.xcframework"
let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path
let packaged = FileManager.default.fileExists(atPath: "\(here)/\(framework)")

let core: Target = packaged
  ? .binaryTarget(name: "evenkeel_ffiFFI", path: framework)
  : .systemLibrary(name: "evenkeel_ffiFFI", path: "Generated/evenkeel_ffiFFI")

let package = Package(
  name: "Evenkeel",
  platforms: [.macOS(.v14), .iOS(.v17)],
  products: [
    .library(name: "Evenkeel", targets: ["Evenkeel"])
  ],
  targets: [
    core,
    // What is generated does not compile in Swift 6 mode.
    .target(
      name: "EvenkeelFFI", dependencies: ["evenkeel_ffiFFI"], path: "Generated/EvenkeelFFI",
      swiftSettings: [.swiftLanguageMode(.v5)],
      linkerSettings: packaged
        ? [.linkedFramework("CoreFoundation"), .linkedFramework("Security"), .linkedFramework("SystemConfiguration")]
        : [.linkedLibrary("evenkeel_ffi")]),
    .target(name: "Evenkeel", dependencies: ["EvenkeelFFI"]),
    .testTarget(name: "EvenkeelTests", dependencies: ["Evenkeel"]),
    .executableTarget(name: "bench", dependencies: ["Evenkeel", "EvenkeelFFI"], path: "Bench"),
    // Samples. Samples/NotesApp is SwiftUI on the same model: for Xcode.
    .target(name: "NotesModel", dependencies: ["Evenkeel"], path: "Samples/NotesModel"),
    .executableTarget(name: "notes", dependencies: ["Evenkeel", "NotesModel"], path: "Samples/notes"),
  ],
  swiftLanguageModes: [.v6]
)
