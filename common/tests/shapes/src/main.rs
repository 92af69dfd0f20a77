fn main() -> Result<(), common::Error> {
    common::init();
    shapes::run()
}
